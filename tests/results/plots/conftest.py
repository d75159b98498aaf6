import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image


@pytest.fixture
def texts():
    """All texts of an SVG, and their sizes in points; the document is parsed, so it is well-formed."""

    def read(svg: bytes) -> dict[str, float]:
        found = {}
        for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
            size = re.search(r"font-size: ([\d.]+)px|font: ([\d.]+)px", node.get("style", ""))
            assert size, node.get("style")
            found["".join(node.itertext())] = float(size[1] or size[2])
        return found

    return read


@pytest.fixture
def centimetres():
    """Width and height of a picture in print, of an SVG or of a PNG."""

    def measure(content: bytes) -> tuple[float, float]:
        if content.startswith(b"\x89PNG"):
            image = Image.open(io.BytesIO(content))
            dots = image.info["dpi"][0]
            return image.width / dots * 2.54, image.height / dots * 2.54
        root = ElementTree.fromstring(content)
        width, height = (float((root.get(key) or "").removesuffix("pt")) for key in ("width", "height"))
        return width / 72 * 2.54, height / 72 * 2.54

    return measure
