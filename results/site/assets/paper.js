"use strict";
// Printed numbers and ours: a scatter plot, and the same points as a table.
(() => {
  const { h, s, data, readHash, writeHash, foldFilters, select, sortable, scroll, mark, look, axes, range, responsive } = skelbench;
  const AXES = [["dataset", "Data set"], ["split", "Split"], ["stream", "Stream"], ["protocol", "Protocol"], ["backbone", "Backbone"]];
  const byId = (id) => document.getElementById(id);
  const points = data();
  const methods = [...new Set(points.map((point) => point.method))];

  const name = (point) => `${point.method}, ${point.backbone}, ${point.dataset} ${point.split} ${point.stream} ${point.protocol}`;
  const ours = (point) => `${point.ours.toFixed(1)}${point.std === null ? "" : ` ± ${point.std.toFixed(1)}`}`;
  const gap = (point) => `${point.ours >= point.paper ? "+" : "−"}${Math.abs(point.ours - point.paper).toFixed(1)}`;

  function scatter(shown) {
    const title = "Paper and ours, top-1 in percent";
    const close = shown.filter((point) => Math.abs(point.ours - point.paper) <= 1).length;
    const description = `${shown.length} cells; ${close} of ours are within one point of the printed number. The table below has every point.`;
    return responsive(title, description, (width) => {
      const height = Math.min(width * 0.92, 520);
      const span = range(shown.flatMap((point) => [point.paper, point.ours - (point.std || 0), point.ours + (point.std || 0)]), 0.07);
      const { g, at, plot } = axes({ width, height, x: { name: "printed in the paper, %", ...span }, y: { name: "ours, %", ...span }, square: true });
      const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, g);
      svg.append(s("line", { class: "rule", x1: at.x(span.low), y1: at.y(span.low), x2: at.x(span.high), y2: at.y(span.high) }));
      svg.append(s("text", { class: "rulename", x: plot.left + plot.width - 6, y: plot.top + 26, "text-anchor": "end" }, "equal"));
      for (const point of shown) {
        const { colour, mark: kind } = look(methods.indexOf(point.method));
        const [x, y] = [at.x(point.paper), at.y(point.ours)];
        const bar = point.std ? s("line", { class: `line ${colour}`, x1: x, x2: x, y1: at.y(point.ours - point.std), y2: at.y(point.ours + point.std) }) : null;
        svg.append(s("a", { href: point.href, tabindex: "-1" }, s("title", {}, `${name(point)}: paper ${point.paper}, ours ${ours(point)}`), bar, mark(kind, x, y, 5, { class: `dot ${colour}` })));
      }
      return svg;
    });
  }
  function key(shown) {
    return h("ul", { class: "legend" }, methods.filter((method) => shown.some((point) => point.method === method)).map((method) => {
      const { colour, mark: kind } = look(methods.indexOf(method));
      return h("li", {}, s("svg", { width: 14, height: 14, "aria-hidden": "true" }, mark(kind, 7, 7, 4.5, { class: `dot ${colour}` })), method);
    }));
  }
  function table(shown) {
    const text = (field) => ({ key: field, name: field, text: true, cell: (point) => point[field], value: (point) => point[field] });
    const columns = [
      text("method"), text("backbone"), { ...text("dataset"), name: "data set" }, text("split"), text("stream"), text("protocol"),
      { key: "ours", name: "ours", class: "num", cell: (point) => h("a", { href: point.href, class: "value" }, ours(point)), value: (point) => point.ours },
      { key: "paper", name: "printed", class: "num paper", cell: (point) => point.paper.toFixed(1), value: (point) => point.paper },
      { key: "gap", name: "ours − printed", class: "num", cell: gap, value: (point) => point.ours - point.paper },
      { key: "seeds", name: "seeds", class: "num minor", cell: (point) => String(point.seeds), value: (point) => point.seeds },
      { key: "source", name: "printed in", text: true, class: "minor", cell: (point) => h("span", { title: point.source }, `${point.table}, ${point.cited}`), value: (point) => point.table },
    ];
    return scroll("Paper and ours", sortable("Printed numbers and ours, top-1 in percent", columns, shown, { key: "gap", dir: "asc" }));
  }

  function draw() {
    const state = readHash();
    const change = (axis) => (value) => writeHash({ ...readHash(), [axis]: value });
    const focused = document.activeElement?.id;
    byId("filters").replaceChildren(...(points.length ? AXES.map(([axis, label]) =>
      select(label, axis, [...new Set(points.map((point) => point[axis]))].map((value) => [value, value]), state[axis] || "", change(axis))) : []));
    if (focused) byId(focused)?.focus();
    const shown = points.filter((point) => AXES.every(([axis]) => !state[axis] || point[axis] === state[axis]));
    byId("count").textContent = !points.length
      ? "No cell of the track “published” with a printed number has been run yet, so there is nothing to compare."
      : `${shown.length} of ${points.length} cells.`;
    byId("chart").replaceChildren(...(shown.length ? [key(shown), scatter(shown)] : []));
    byId("points").replaceChildren(...(shown.length ? [table(shown)] : []));
  }
  foldFilters();
  addEventListener("hashchange", draw);
  draw();
})();
