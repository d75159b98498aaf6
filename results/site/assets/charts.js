"use strict";
// Shared by all pages: creating elements (text is always text, never markup), sortable tables, and charts as SVG.
const skelbench = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MARKS = ["circle", "square", "triangle", "diamond", "down", "plus", "cross"];
  const COLOURS = 7;

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // ---- data files, loaded as scripts because pages opened from disk cannot fetch files
  const waiting = {};
  const loading = {};
  function deliver(name, value) {
    if (waiting[name]) waiting[name](value);
    else loading[name] = Promise.resolve(value);
  }
  function load(name) {
    loading[name] ??= new Promise((resolve, reject) => {
      waiting[name] = resolve;
      const failed = () => reject(new Error(`data/${name}.js does not exist: build the site again.`));
      document.head.append(h("script", { src: `data/${name}.js`, onerror: failed }));
    });
    return loading[name];
  }
  const data = () => JSON.parse(document.getElementById("data").textContent);

  // ---- the state of a page, stored in the hash of its address
  function readHash() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }
  function writeHash(state, quiet) {
    const given = Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const hash = "#" + new URLSearchParams(given).toString();
    if (hash === (location.hash || "#")) return;
    if (quiet) history.replaceState(null, "", hash);
    else location.hash = hash;
  }
  // On a phone the filters would fill the first screen, so they start collapsed.
  function foldFilters() {
    if (matchMedia("(max-width: 40rem)").matches) document.getElementById("filterbox").open = false;
  }
  function select(label, name, options, value, onchange) {
    const id = `filter-${name}`;
    const known = options.some(([key]) => key === value) || value === "";
    const all = known ? options : [...options, [value, `${value} (not here)`]];
    return h("div", { class: "filter" },
      h("label", { for: id }, label),
      h("select", { id, onchange: (event) => onchange(event.target.value) },
        h("option", { value: "" }, "all"),
        all.map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
  }

  // ---- tables
  function sortHead(column, sort, onsort, attributes) {
    const active = sort && sort.key === column.key;
    const state = active ? (sort.dir === "asc" ? "ascending" : "descending") : "none";
    const arrow = active ? (sort.dir === "asc" ? "▲" : "▼") : "";
    const first = column.text ? "asc" : "desc";
    const next = active ? (sort.dir === "asc" ? "desc" : "asc") : first;
    return h("th", { scope: "col", "aria-sort": state, class: column.class, ...attributes },
      h("button", { type: "button", class: "sort", "data-sort": column.key, onclick: () => onsort({ key: column.key, dir: next }) },
        column.name, h("span", { class: "arrow", "aria-hidden": "true" }, arrow)));
  }
  // Missing values stay last in both sort directions.
  function compare(dir, value) {
    const sign = dir === "asc" ? 1 : -1;
    return (a, b) => {
      const [x, y] = [value(a), value(b)];
      const [noX, noY] = [x === null || x === undefined || x === "", y === null || y === undefined || y === ""];
      if (noX || noY) return noX - noY;
      return typeof x === "number" && typeof y === "number" ? sign * (x - y) : sign * String(x).localeCompare(String(y), "en", { numeric: true });
    };
  }
  // A table that sorts itself; columns: key, name, text?, class?, cell(row) -> node or text, value(row).
  function sortable(caption, columns, rows, sort) {
    const table = h("table", { class: "data" });
    const draw = (focus) => {
      const column = sort && columns.find((one) => one.key === sort.key);
      const ordered = column ? [...rows].sort(compare(sort.dir, column.value)) : rows;
      const change = (to) => { sort = to; draw(to.key); };
      table.replaceChildren(
        h("caption", {}, caption),
        h("thead", {}, h("tr", {}, columns.map((one) => one.value ? sortHead(one, sort, change) : h("th", { scope: "col", class: one.class }, one.name)))),
        h("tbody", {}, ordered.map((row) => h("tr", {}, columns.map((one, i) =>
          i === 0 ? h("th", { scope: "row", class: one.class }, one.cell(row)) : h("td", { class: one.class }, one.cell(row)))))));
      if (focus) table.querySelector(`[data-sort="${CSS.escape(focus)}"]`).focus();
    };
    draw();
    return table;
  }
  const scroll = (label, ...children) => h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, children);

  // ---- charts
  let serial = 0;
  function ticks(low, high, count) {
    const raw = (high - low) / Math.max(1, count) || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
    const first = Math.ceil(low / step - 1e-9) * step;
    const found = [];
    for (let i = 0; first + i * step <= high + step * 1e-6; i++) found.push(Number((first + i * step).toPrecision(12)));
    return found;
  }
  function plus(x, y, r) {
    const a = r * 0.8;
    return `M${x - a / 2} ${y - a * 1.5}h${a}v${a}h${a}v${a}h${-a}v${a}h${-a}v${-a}h${-a}v${-a}h${a}z`;
  }
  function mark(kind, x, y, r, attributes) {
    const shapes = {
      circle: () => s("circle", { cx: x, cy: y, r, ...attributes }),
      square: () => s("rect", { x: x - r * 0.9, y: y - r * 0.9, width: r * 1.8, height: r * 1.8, ...attributes }),
      triangle: () => s("path", { d: `M${x} ${y - r * 1.2}l${r * 1.15} ${r * 2}h${-r * 2.3}z`, ...attributes }),
      down: () => s("path", { d: `M${x} ${y + r * 1.2}l${r * 1.15} ${-r * 2}h${-r * 2.3}z`, ...attributes }),
      diamond: () => s("path", { d: `M${x} ${y - r * 1.3}l${r * 1.3} ${r * 1.3}l${-r * 1.3} ${r * 1.3}l${-r * 1.3} ${-r * 1.3}z`, ...attributes }),
      plus: () => s("path", { d: plus(x, y, r), ...attributes }),
      cross: () => s("path", { d: plus(x, y, r), transform: `rotate(45 ${x} ${y})`, ...attributes }),
    };
    return shapes[kind]();
  }
  // Colour, shape and dash of series i; the first 49 are all different.
  const look = (i) => {
    const round = Math.floor(i / COLOURS);
    return { colour: `c${i % COLOURS}`, mark: MARKS[(i + round) % MARKS.length], dash: `d${round % 3}` };
  };

  // A chart redraws itself at the width it has, so that its text stays readable on a phone.
  function responsive(title, description, draw) {
    const id = `chart-${++serial}`;
    const box = h("div", { class: "chart" });
    let width = 0;
    const redraw = () => {
      const now = Math.min(880, Math.floor(box.clientWidth));
      if (!now || now === width) return;
      width = now;
      const svg = draw(width);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-labelledby", `${id}-t ${id}-d`);
      svg.prepend(s("title", { id: `${id}-t` }, title), s("desc", { id: `${id}-d` }, description));
      box.replaceChildren(svg);
    };
    new ResizeObserver(redraw).observe(box);
    return box;
  }
  function axes({ width, height, x, y, right = 14, top = 10, bottom = 40, square = false }) {
    const levels = ticks(y.low, y.high, Math.max(2, (height - top - bottom) / 52));
    const left = 30 + 8 * Math.max(2, ...levels.map((tick) => String(tick).length)); // the axis' name, then its numbers
    const plot = { left, top, width: width - left - right, height: height - top - bottom };
    if (square) plot.width = plot.height = Math.min(plot.width, plot.height);
    const at = {
      x: (value) => plot.left + ((value - x.low) / (x.high - x.low || 1)) * plot.width,
      y: (value) => plot.top + plot.height - ((value - y.low) / (y.high - y.low || 1)) * plot.height,
    };
    const g = s("g", { class: "axes" });
    for (const tick of levels) {
      g.append(s("line", { class: "grid", x1: plot.left, x2: plot.left + plot.width, y1: at.y(tick), y2: at.y(tick) }));
      g.append(s("text", { x: plot.left - 8, y: at.y(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    for (const tick of ticks(x.low, x.high, Math.max(2, plot.width / 80)).filter((tick) => !x.integers || Number.isInteger(tick))) {
      g.append(s("line", { class: "grid", x1: at.x(tick), x2: at.x(tick), y1: plot.top, y2: plot.top + plot.height }));
      g.append(s("text", { x: at.x(tick), y: plot.top + plot.height + 17, "text-anchor": "middle" }, String(tick)));
    }
    g.append(s("text", { class: "name", x: plot.left + plot.width / 2, y: plot.top + plot.height + 35, "text-anchor": "middle" }, x.name));
    const middle = plot.top + plot.height / 2;
    g.append(s("text", { class: "name", transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, y.name));
    return { g, at, plot };
  }
  function range(values, pad) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low || 1) * pad;
    return { low: low - room, high: high + room };
  }
  function legend(series) {
    return h("ul", { class: "legend" }, series.map((one, i) => {
      const { colour, mark: kind, dash } = one.look || look(i);
      const swatch = s("svg", { width: 30, height: 12, "aria-hidden": "true" },
        s("line", { class: `line ${colour} ${dash}`, x1: 1, x2: 29, y1: 6, y2: 6 }), mark(kind, 15, 6, 3.5, { class: `dot ${colour}` }));
      return h("li", {}, swatch, one.name);
    }));
  }
  // Lines over epochs. series: [{name, points: [[x, y]], look?}]; rule: {value, name} is a level drawn across.
  function lines({ title, x, y, series, rule }) {
    const drawn = series.filter((one) => one.points.length);
    const all = drawn.flatMap((one) => one.points);
    const span = (one) => `${one.name} from ${one.points[0][1]} at ${x} ${one.points[0][0]} to ${one.points.at(-1)[1]} at ${x} ${one.points.at(-1)[0]}`;
    const description = `${y} by ${x}: ${drawn.map(span).join("; ")}${rule ? `; ${rule.name} at ${rule.value}` : ""}.`;
    const draw = (width) => {
      const height = Math.max(220, Math.min(340, width * 0.5));
      const xs = all.map((point) => point[0]);
      const ys = [...all.map((point) => point[1]), ...(rule ? [rule.value] : [])];
      const { g, at, plot } = axes({ width, height, x: { name: x, ...range(xs, 0.02), integers: true }, y: { name: y, ...range(ys, 0.08) } });
      const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, g);
      if (rule) {
        svg.append(s("line", { class: "rule", x1: plot.left, x2: plot.left + plot.width, y1: at.y(rule.value), y2: at.y(rule.value) }));
      }
      drawn.forEach((one, i) => {
        const { colour, mark: kind, dash } = one.look || look(i);
        const path = one.points.map(([a, b], j) => `${j ? "L" : "M"}${at.x(a).toFixed(1)} ${at.y(b).toFixed(1)}`).join("");
        svg.append(s("path", { class: `line ${colour} ${dash}`, d: path, fill: "none" }));
        const few = one.points.length <= 30 ? one.points : [one.points.at(-1)];
        for (const [a, b] of few) svg.append(s("g", {}, s("title", {}, `${one.name}, ${x} ${a}: ${b}`), mark(kind, at.x(a), at.y(b), 3.5, { class: `dot ${colour}` })));
      });
      // Drawn last, outlined in the background colour, so that no line crosses the text.
      if (rule) svg.append(s("text", { class: "rulename", x: plot.left + plot.width - 4, y: at.y(rule.value) - 5, "text-anchor": "end" }, `${rule.name} ${rule.value}`));
      return svg;
    };
    const table = h("details", {}, h("summary", {}, "As a table"));
    table.addEventListener("toggle", () => {
      if (table.open && table.childElementCount === 1) table.append(scroll(title, lineTable(title, x, drawn)));
    });
    return h("figure", {}, h("figcaption", {}, title), drawn.length > 1 ? legend(drawn) : null, responsive(title, description, draw), table);
  }
  function lineTable(title, x, series) {
    const at = [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    const found = series.map((one) => new Map(one.points));
    return h("table", { class: "data" },
      h("caption", {}, title),
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "num" }, x), series.map((one) => h("th", { scope: "col", class: "num" }, one.name)))),
      h("tbody", {}, at.map((a) => h("tr", {}, h("th", { scope: "row", class: "num" }, String(a)), found.map((map) => h("td", { class: "num" }, String(map.get(a) ?? "–")))))));
  }
  function explain(error) {
    document.getElementById("main").prepend(h("p", { class: "note", role: "alert" }, String(error.message || error)));
  }

  return { h, s, deliver, load, data, readHash, writeHash, foldFilters, select, sortHead, compare, sortable, scroll, mark, look, axes, range, responsive, legend, lines, explain };
})();
