"""MICA: its captions, its text vectors, its losses against a second implementation, and what it must not use."""

import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from skelbench.datasets.layout import LAYOUTS
from skelbench.errors import SkelbenchError
from skelbench.methods import Progress, create_method
from skelbench.methods.mica.captions import COUNT, PHRASES, SIZES, Body, caption, sentences
from skelbench.methods.mica.losses import balanced, cross_correlation, soft_match
from skelbench.methods.mica.text_bank import class_prompts, concepts, encode, hashed, read_bank, write_bank

CLIPS = 6


def small(seed=0, **config) -> Any:
    torch.manual_seed(seed)
    args = {"width": 4, "dim": 16, "dropout": 0.0}
    given = {"frest": "none", "queue_size": 12, "feature_dim": 8} | config
    return create_method("mica", layout="kinect20", num_frames=16, num_persons=1, backbone_args=args, **given).train()


def step(method, label=None, seed=0):
    x = torch.randn(CLIPS, 3, 16, 20, 1, generator=torch.Generator().manual_seed(seed))
    draws = method.draw(x, torch.Generator().manual_seed(seed))
    return method.loss(method.views(x, draws), draws=draws, label=label), draws


# --- captions ----------------------------------------------------------------------------------------


def body(frames=32, layout="ntu25"):
    """A person (1, 3, T, V, 2) who stands still, alone: joints laid out by their depth in the skeleton."""
    skeleton = LAYOUTS[layout]
    x = torch.zeros(1, 3, frames, skeleton.num_joints, 2)
    places = {
        "trunk": (0, 0.6),
        "left_arm": (-0.7, 0),
        "right_arm": (0.7, 0),
        "left_leg": (-0.2, -1.2),
        "right_leg": (0.2, -1.2),
    }
    for part, (side, up) in places.items():
        for joint in skeleton.parts[part]:
            x[0, 0, :, joint, 0], x[0, 1, :, joint, 0] = side, up
    shoulders, hips = skeleton.shoulders or (0, 0), [skeleton.parts[leg][0] for leg in ("left_leg", "right_leg")]
    for joint, side in zip(shoulders, (-0.2, 0.2), strict=True):
        x[0, 0, :, joint, 0], x[0, 1, :, joint, 0] = side, 0.4
    x[0, 1, :, hips, 0] = -0.2
    return x


def said(x, layout="ntu25"):
    number = caption(x, Body.of(LAYOUTS[layout]))
    assert number.shape == (len(x),)
    return sentences()[int(number[0])]


def test_a_sentence_for_every_number():
    assert len(sentences()) == len(set(sentences())) == COUNT == np.prod([len(p) for p in PHRASES]) == np.prod(SIZES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_ends_of_limbs_are_found_in_every_skeleton(layout):
    skeleton = LAYOUTS[layout]
    found = Body.of(skeleton)
    names = [skeleton.joints[joint].lower() for joint in (*found.hands, *found.feet, found.head)]
    hand, foot, head = ("hand", "wrist"), ("foot", "toe"), ("head", "ear")  # OpenPose has no hands and no head
    for name, kind in zip(names, (hand, hand, foot, foot, head), strict=True):
        assert any(word in name for word in kind), name


def test_what_is_done_is_said():
    time = torch.arange(32) / 32
    still = body()
    assert "keeps still" in said(still) and "nobody else is there" in said(still)
    arm = list(LAYOUTS["ntu25"].parts["right_arm"])
    waving = body()
    waving[0, 1, :, arm, 0] += 0.4 * torch.sin(2 * torch.pi * 3 * time)[:, None]
    assert "moves the right arm most on one side only, up and down, again and again" in said(waving)
    both = waving.clone()
    left = list(LAYOUTS["ntu25"].parts["left_arm"])
    both[0, 1, :, left, 0] += 0.4 * torch.sin(2 * torch.pi * 3 * time)[:, None]
    assert "with both sides alike" in said(both)
    reaching = body()
    reaching[0, 0, :, arm, 0] += 0.5 * torch.cos(torch.pi * time)[:, None]
    assert "sideways, slowly and once" in said(reaching)
    clapping = body()
    hands = Body.of(LAYOUTS["ntu25"]).hands
    clapping[0, 0, 10, hands, 0] = 0.0
    assert "the hands come together" in said(clapping)
    sinking = body()
    feet = list(Body.of(LAYOUTS["ntu25"]).feet)
    sinking[0, 1, 16:, feet, 0] += 0.8
    assert "the body sinks down" in said(sinking) and "the body rises" in said(sinking.flip(2))
    pair = body()
    pair[..., 1] = pair[..., 0]
    assert "another person stands by" in said(pair)
    pair[0, 1, :, arm, 1] += torch.sin(2 * torch.pi * 3 * time)[:, None] * 2
    assert "another person moves as well" in said(pair)


def test_a_caption_does_not_depend_on_the_batch_and_on_the_size_of_the_body():
    x = torch.randn(5, 3, 16, 25, 2, generator=torch.Generator().manual_seed(0))
    together = caption(x, Body.of(LAYOUTS["ntu25"]))
    alone = torch.cat([caption(2.5 * clip[None], Body.of(LAYOUTS["ntu25"])) for clip in x])
    assert torch.equal(together, alone)


# --- text --------------------------------------------------------------------------------------------


def test_hashed_sentences_are_unit_vectors_alike_by_their_words():
    vectors = hashed(["moves the left arm", "the left arm moves", "moves the right arm", "turns around"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] == pytest.approx(1) and likeness[0, 2] > 0.5 > abs(likeness[0, 3])
    np.testing.assert_array_equal(vectors[2:3], hashed(["moves the right arm"]), "whatever else is read")


def test_the_concept_bank_names_no_class():
    assert len(set(concepts())) == 200
    assert class_prompts(["hand_waving"]) == ["a person is hand waving"]


def test_a_text_bank_returns_what_was_written_and_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("SKELBENCH_DATA", str(tmp_path))
    with pytest.raises(SkelbenchError, match=r"no text bank .*text_bank\.npz; write it with `skelbench text-bank`"):
        encode(["one"], "clip")
    vectors = np.random.default_rng(0).standard_normal((2, 512))
    write_bank(tmp_path / "text_bank.npz", ["one", "two"], vectors, "a test")
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(encode(["two", "one"], "clip"), expected[::-1], atol=2e-4)
    with pytest.raises(SkelbenchError, match=r"lacks 1 sentences, such as 'three'"):
        read_bank(tmp_path / "text_bank.npz", ["one", "three"])
    (tmp_path / "text_bank.npz").write_bytes(b"not a bank")
    with pytest.raises(SkelbenchError, match="cannot be read"):
        encode(["one"], "clip")


# --- losses ------------------------------------------------------------------------------------------


def test_information_gain_is_kl_over_the_different_captions_of_a_batch():
    method = small().double()
    text = torch.nn.functional.normalize(torch.randn(4, 512, dtype=torch.float64), dim=1)[[0, 1, 0, 2, 0, 3]]
    u = torch.nn.functional.normalize(torch.randn(6, 512, dtype=torch.float64), dim=1)
    repeated = torch.tensor([3, 1, 3, 1, 3, 1])
    ours = method._information_gain(text, u, text, repeated)
    bank = text[[0, 1, 3, 5]]  # each once
    p, q = (text @ bank.T / 0.05).softmax(dim=1), (u @ bank.T / 0.1).softmax(dim=1)
    assert ours.item() == pytest.approx((p * (p / q).log()).sum(dim=1).mean().item(), rel=1e-10)


def test_balancing_uses_all_concepts_alike_and_keeps_rows_distributions():
    target = balanced(torch.randn(400, 10, dtype=torch.float64))
    torch.testing.assert_close(target.sum(dim=1), torch.ones(400, dtype=torch.float64))
    assert (target.sum(dim=0) - 40).abs().max() < 1


@pytest.mark.parametrize("soften", [0.0, 0.3])
def test_soft_matching_is_what_it_says_by_hand(soften):
    generator = torch.Generator().manual_seed(0)
    u, text = (torch.nn.functional.normalize(torch.randn(5, 8, generator=generator).double(), dim=1) for _ in range(2))
    ours = soft_match(u, text, torch.tensor(soften, dtype=torch.float64), 0.1, 0.05)
    total = 0.0
    for rows, columns in ((u, text), (text, u)):
        for n in range(5):
            likeness = np.exp([text[n] @ other / 0.05 for other in text])
            target = soften * likeness / likeness.sum() + (1 - soften) * (np.arange(5) == n)
            logits = np.array([rows[n] @ other / 0.1 for other in columns])
            total -= (target * (logits - np.log(np.exp(logits).sum()))).sum() / 10
    assert ours.item() == pytest.approx(total, rel=1e-10)


def test_cross_correlation_is_numpys():
    a, b = torch.randn(2, 50, 6, dtype=torch.float64)
    c = np.corrcoef(a.T, b.T)[:6, 6:]
    expected = (((1 - np.diag(c)) ** 2).sum() + 5e-3 * ((c**2).sum() - (np.diag(c) ** 2).sum())) / 6
    assert cross_correlation(a, b).item() == pytest.approx(expected, rel=1e-6)


def test_the_terms_of_language_rise_over_the_first_tenth_of_the_steps():
    shares = {0: 0.0, 4: 0.5, 9: 1.0, 99: 1.0}
    for iteration, ramp in shares.items():
        method = small(eig=2.0)
        if iteration:
            step(method)
            method.after_step(Progress(1, iteration, 100, 1))
        losses, _ = step(method, seed=1)
        share = 0.0 if not iteration else min(1.0, (iteration + 1) / 10)
        assert share == pytest.approx(ramp, abs=0.01)
        language = 2 * losses["loss_eig"] + 0.5 * losses["loss_cross"]
        expected = losses["loss_nce"] + share * language + 0.1 * losses["loss_self"]
        assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_repeated_captions_are_reported_and_soften_the_targets_at_once():
    method = small()
    x = torch.randn(CLIPS, 3, 16, 20, 1)
    draws = method.draw(x, torch.Generator().manual_seed(0))
    for numbers, repeats, soften in (([0, 1, 2, 3, 4, 5], 0.0, 0.0), ([0, 0, 0, 1, 1, 2], 5 / 6, 0.5)):
        given = draws | {"caption": torch.tensor(numbers)}
        losses = method.loss(method.views(x, draws), draws=given)
        assert losses["caption_repeats"].item() == pytest.approx(repeats)
        assert losses["soften"].item() == pytest.approx(soften, abs=1e-6)


def test_shuffling_gives_the_captions_of_the_batch_to_other_clips():
    x = torch.randn(CLIPS, 3, 16, 20, 1, generator=torch.Generator().manual_seed(0))
    own, other = (small(shuffle=s).draw(x, torch.Generator().manual_seed(1)) for s in (False, True))
    assert sorted(own["caption"].tolist()) == sorted(other["caption"].tolist())
    assert own["caption"].tolist() != other["caption"].tolist()


# --- inputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["generated", "concepts"])
def test_poisoned_labels_change_nothing(text):
    losses = [step(small(text=text), label=label)[0] for label in (None, torch.full((CLIPS,), -(2**40)))]
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
    assert not small(text=text).uses_labels


def test_prompts_by_class_teach_by_label():
    kind = {"text": "class_prompt", "class_names": ("wave", "kick", "sit down")}
    method = small(**kind)
    assert method.uses_labels and method.supervision(method.config) == "language-supervised"
    assert method.supervision(small().config) == ""
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    losses, draws = step(method, label)
    np.testing.assert_allclose(draws["bank"], hashed(class_prompts(kind["class_names"])), atol=1e-6)
    other, _ = step(small(**kind), label.flip(0))
    assert not torch.equal(losses["loss_eig"], other["loss_eig"])
    assert torch.equal(losses["loss_nce"], other["loss_nce"])
    with pytest.raises(SkelbenchError, match="need the names of the classes"):
        step(small(text="class_prompt"), label)


def test_without_frequency_blocks_it_takes_any_backbone_and_with_them_stgcn():
    with pytest.raises(SkelbenchError, match=r"'bigru' does not have; choose stgcn, or set method\.frest=none"):
        create_method("mica", backbone="bigru", queue_size=4)
    create_method("mica", backbone="bigru", backbone_args={"hidden": 4}, queue_size=4, frest="none")


class Watch:
    """An importer that finds nothing and notes what is looked for."""

    def __init__(self):
        self.names = []

    def find_spec(self, name, path=None, target=None):
        self.names.append(name)


def test_evaluation_keeps_and_loads_no_text(monkeypatch):
    kept = small().evaluation_state()
    assert all(name.startswith(("encoder_q.backbone.", "encoder_q.head.")) for name in kept)
    heavy, watch = ("clip", "open_clip", "transformers", "tokenizers"), Watch()
    for name in [name for name in sys.modules if name.partition(".")[0] in heavy]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [watch, *sys.meta_path])
    method: Any = create_method("mica", queue_size=4, backbone_args={"width": 2, "dim": 8}, text_encoder="clip").eval()
    with torch.no_grad():
        method.features(torch.randn(1, 3, 64, 25, 2))
        method.embedding(torch.randn(1, 3, 64, 25, 2))
    assert not {name.partition(".")[0] for name in watch.names} & {*heavy}
    assert method.texts is None, "not even with a missing text bank"
    with pytest.raises(ImportError):
        import_module("open_clip.nowhere")
    assert "open_clip" in watch.names, "an attempt would have been noted"
