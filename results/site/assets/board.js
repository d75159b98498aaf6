"use strict";
// The index: the list of tables (data/index.js), and the tables that match the filters, loaded when they are shown.
(() => {
  const { h, s, load, readHash, writeHash, foldFilters, select, sortHead, compare, scroll, lines, explain } = skelbench;
  const TABLES = 10;
  const ROWS = 50;
  const NO_ORIGIN = "-";
  const AXES = [
    ["track", "Track"], ["label", "Custom"], ["dataset", "Data set"], ["split", "Split"], ["stream", "Stream"],
    ["protocol", "Protocol"], ["backbone", "Backbone"], ["origin", "Pre-trained on"],
  ];
  const byId = (id) => document.getElementById(id);
  let tables = [];
  let drawing = 0;

  function decode(index) {
    const name = (i) => (i < 0 ? "" : index.names[i]);
    return index.tables.map(([track, label, dataset, split, stream, origin, protocols, backbones, rows, parts], number) => ({
      number, parts, rows, track: name(track), label: name(label), dataset: name(dataset), split: name(split), stream: name(stream),
      origin: origin < 0 ? NO_ORIGIN : name(origin), protocols: protocols.map(name), backbones: backbones.map(name),
    }));
  }
  const holds = (table, axis, value) =>
    axis === "protocol" ? table.protocols.includes(value) : axis === "backbone" ? table.backbones.includes(value) : table[axis] === value;
  const matching = (state) => tables.filter((table) => AXES.every(([axis]) => !state[axis] || holds(table, axis, state[axis])));

  function values(axis) {
    const found = tables.flatMap((table) => (axis === "protocol" ? table.protocols : axis === "backbone" ? table.backbones : [table[axis]]));
    return [...new Set(found)].filter((value) => value !== "").map((value) => [value, value === NO_ORIGIN ? "its own data" : value]);
  }

  function change(to, quiet) {
    const state = { ...readHash(), n: "", ...to };
    writeHash(state, quiet);
    if (quiet) draw();
  }

  function drawFilters(state) {
    const focused = document.activeElement && document.activeElement.id;
    const shown = AXES.filter(([axis]) => {
      if (axis === "label") return values(axis).length > 0 && (!state.track || state.track === "custom");
      return axis !== "origin" || values(axis).length > 1 || state.origin;
    });
    const search = h("div", { class: "filter" }, h("label", { for: "filter-method" }, "Method"),
      h("input", { id: "filter-method", type: "search", value: state.method || "", autocomplete: "off",
        oninput: (event) => change({ method: event.target.value }, true) }));
    const reset = h("button", { type: "button", id: "reset", disabled: location.hash.length < 2, onclick: () => writeHash({}) }, "Reset");
    const keep = byId("filter-method");
    const axes = shown.map(([axis, label]) => select(label, axis, values(axis), state[axis] || "",
      (value) => change({ [axis]: value, ...(axis === "track" && value !== "custom" ? { label: "" } : {}) })));
    byId("filters").replaceChildren(...axes, keep && focused === "filter-method" ? keep.parentElement : search, reset);
    if (focused && byId(focused) && byId("filters").contains(byId(focused))) byId(focused).focus();
  }

  async function read(table) {
    const parts = await Promise.all(table.parts.map((part) => load(`part-${part}`)));
    const pieces = parts.map((part) => part[table.number]);
    return { ...pieces[0], rows: pieces.flatMap((piece) => piece.rows) };
  }

  // ---- one table
  // The names, then the scores, then the setup and cost, so that the scores are visible without scrolling.
  // A backbone that all rows share is hidden.
  function visible(board, state) {
    const all = board.columns.map((column, i) => ({ ...column, i, key: column.name }));
    const one = new Set(board.rows.map((row) => row.backbone)).size === 1;
    const names = all.filter((column) => ["rank", "rank by seed", "method", ...(one ? [] : ["backbone"]), "variant"].includes(column.name));
    const scores = all.filter((column) => column.group && (!state.protocol || column.group === state.protocol));
    const rest = all.filter((column) => !column.group && !names.includes(column)).map((column) => ({ ...column, minor: 1 }));
    return [...names, ...scores, ...rest];
  }
  const wanted = (row, state) => (!state.backbone || row.backbone === state.backbone)
    && (row.floor || !state.method || row.method.toLowerCase().includes(state.method.toLowerCase()));
  const classes = (column, i, columns) => [
    column.kind === "text" ? "" : "num", column.minor ? "minor" : "", column.name === "method" ? "method" : "",
    i && columns[i - 1].group !== column.group ? "first" : "", / paper$/.test(column.name) && column.kind === "percent" ? "paper" : "",
  ].filter(Boolean).join(" ");

  function head(columns, sort, onsort) {
    const grouped = columns.some((column) => column.group);
    const top = h("tr", {});
    const below = h("tr", {});
    columns.forEach((column, i) => {
      const about = { ...column, text: column.kind === "text" || column.name.startsWith("rank"), class: classes(column, i, columns) };
      if (!column.group) {
        top.append(sortHead(about, sort, onsort, grouped ? { rowspan: 2 } : {}));
        return;
      }
      if (!i || columns[i - 1].group !== column.group) {
        const span = columns.filter((one) => one.group === column.group).length;
        top.append(h("th", { scope: "colgroup", colspan: span, class: "group first" }, column.group));
      }
      below.append(sortHead({ ...about, name: column.short }, sort, onsort));
    });
    return h("thead", {}, top, grouped ? below : null);
  }

  function entry(cell, column, row, number) {
    const notes = (cell.m || []).map((mark) => h("sup", {}, h("a", { href: `#note-${number}-${mark}`, class: "mark", onclick: (event) => toNote(event, number, mark) }, mark)));
    const paper = / paper$/.test(column.name) && column.kind === "percent";
    const spread = cell.d ? h("span", { class: "spread" }, ` ± ${cell.d}`) : null;
    const seeds = cell.n ? h("span", { class: "spread" }, ` (${cell.n})`) : null;
    const interval = cell.i ? h("span", { class: "spread" }, ` [${cell.i.join(", ")}]`) : null;
    const remark = cell.r ? h("span", { class: "spread" }, ` ${cell.r}`) : null;
    const text = [cell.b ? h("strong", {}, cell.t) : cell.t, spread, interval, seeds, remark];
    const href = column.group ? row.links[column.group] : Object.values(row.links)[0];
    const main = column.group && column.short === "top-1";
    const linked = cell.v !== undefined && href && !paper;
    const content = linked ? h("a", { href, class: main ? "value" : "value quiet", tabindex: main ? null : "-1" }, text) : text;
    const source = cell.s ? { title: `${paper ? "printed: " : ""}${cell.s}` } : {};
    return [h("span", source, content), ...notes];
  }

  function toNote(event, number, mark) {
    event.preventDefault();
    const note = byId(`note-${number}-${mark}`);
    note.closest("details")?.setAttribute("open", "");
    note.scrollIntoView({ block: "center" });
    note.focus({ preventScroll: true });
  }

  function line(row, columns, number) {
    return h("tr", {}, columns.map((column, i) => {
      const cell = row.cells[column.i];
      const attributes = { class: classes(column, i, columns), "data-column": column.name };
      return column.name === "method" ? h("th", { scope: "row", ...attributes }, entry(cell, column, row, number)) : h("td", attributes, entry(cell, column, row, number));
    }));
  }

  function body(board, columns, state, sort, number, limit) {
    const rows = board.rows.filter((row) => wanted(row, state));
    const column = sort && columns.find((one) => one.name === sort.key);
    const value = ({ cells }) => cells[column.i].v ?? (["–", "n/a"].includes(cells[column.i].t) ? null : cells[column.i].t);
    const others = rows.filter((row) => !row.floor);
    const ordered = column ? [...others].sort(compare(sort.dir, value)) : others;
    const floors = rows.filter((row) => row.floor);
    return {
      left: Math.max(0, ordered.length - limit),
      rows: others.length,
      bodies: [
        h("tbody", { class: "floor" }, floors.map((row) => line(row, columns, number))),
        h("tbody", {}, ordered.slice(0, limit).map((row) => line(row, columns, number))),
      ],
    };
  }

  function title(table) {
    return `${table.dataset} ${table.split}, ${table.stream}${table.origin === NO_ORIGIN ? "" : `, pre-trained on ${table.origin}`}`;
  }
  const track = (table) => (table.label ? `${table.track}: ${table.label}` : table.track);
  function address(table) {
    const place = Object.fromEntries(["track", "label", "dataset", "split", "stream", "origin"].map((axis) => [axis, table[axis]]).filter(([, value]) => value));
    return `#${new URLSearchParams(place)}`;
  }

  function section(table, board, state) {
    const sort = state.sort ? { key: state.sort, dir: state.dir === "asc" ? "asc" : "desc" } : null;
    const columns = visible(board, state);
    const known = sort && columns.some((column) => column.name === sort.key) ? sort : null;
    const onsort = (to) => change({ sort: to.key, dir: to.dir, n: state.n });
    const id = `table-${table.number}`;
    const holder = h("table", { class: "data board" });
    const more = h("button", { type: "button", class: "wide" });
    let limit = ROWS;
    const fill = () => {
      const { bodies, left, rows } = body(board, columns, state, known, table.number, limit);
      const sorted = known ? `sorted by ${known.key}, ${known.dir === "asc" ? "lowest" : "highest"} first` : "in order of rank";
      holder.replaceChildren(h("caption", { class: "hidden" }, `${title(table)}, track ${track(table)}: ${rows} methods, ${sorted}; the untrained floor is first.`),
        head(columns, known, onsort), ...bodies);
      more.hidden = !left;
      more.textContent = `Show ${Math.min(left, ROWS * 4)} more rows of ${left}`;
    };
    more.addEventListener("click", () => { limit += ROWS * 4; fill(); });
    fill();
    return h("section", { class: "board", "aria-labelledby": id },
      h("h2", { id }, h("a", { href: address(table), class: "self" }, title(table)), " ", h("span", { class: `chip ${table.track}` }, track(table))),
      scroll(title(table), holder), more, notes(board, table.number), curves(board, table, state));
  }

  function notes(board, number) {
    const marked = board.notes.map((note) => h("li", { id: `note-${number}-${note.mark}`, tabindex: "-1" }, h("sup", {}, note.mark), " ", note.text));
    const plain = board.footnotes.map((text) => h("li", { class: text.startsWith("WARNING") ? "warning" : null }, text));
    const list = h("ul", { class: "notes" }, marked, plain);
    const count = marked.length + plain.length;
    if (!count) return null;
    return h("details", { open: board.footnotes.some((text) => text.startsWith("WARNING")) }, h("summary", {}, `${count} note${count > 1 ? "s" : ""} on this table`), list);
  }

  function curves(board, table, state) {
    const shown = board.curves.filter((one) => (!state.protocol || one.protocol === state.protocol) && (!state.backbone || one.backbone === state.backbone));
    if (!shown.length) return null;
    const several = new Set(shown.map((one) => one.backbone)).size > 1;
    const box = h("details", { class: "curves" }, h("summary", {}, "Learning curves"));
    box.addEventListener("toggle", () => {
      if (!box.open || box.childElementCount > 1) return;
      for (const protocol of new Set(shown.map((one) => one.protocol))) {
        const series = shown.filter((one) => one.protocol === protocol).map((one) => ({ name: several ? `${one.name}, ${one.backbone}` : one.name, points: one.points }));
        box.append(lines({ title: `${protocol}: test accuracy by epoch of the pre-training (mean over seeds)`, x: "epoch", y: "top-1, %", series, rule: floor(board, protocol, several) }));
      }
    });
    return box;
  }
  function floor(board, protocol, several) {
    if (!board.columns.some((column) => column.name === `${protocol} Δ floor`)) return null; // fine-tuning has no floor
    const i = board.columns.findIndex((column) => column.name === protocol);
    const floors = board.rows.filter((one) => one.floor && one.cells[i].v !== undefined);
    const [row] = floors;
    return row && !several && floors.every((one) => one.variant === row.variant) ? { name: "untrained floor", value: Number(row.cells[i].v.toFixed(1)) } : null;
  }

  // ---- the page
  async function draw() {
    const mine = ++drawing;
    const state = readHash();
    const focus = document.activeElement?.dataset?.sort;
    const where = document.activeElement?.closest("section.board")?.getAttribute("aria-labelledby");
    drawFilters(state);
    const found = matching(state);
    const limit = Number(state.n) || TABLES;
    const boards = await Promise.all(found.slice(0, limit).map(read));
    if (mine !== drawing) return;
    byId("boards").replaceChildren(...boards.map((board, i) => section(found[i], board, state)));
    const count = `${found.length} of ${tables.length} table${tables.length === 1 ? "" : "s"}${found.length > limit ? `, the first ${limit} shown` : ""}.`;
    byId("count").textContent = found.length ? count : "No table matches these filters; Reset shows all tables.";
    const left = found.length - limit;
    byId("more").hidden = left <= 0;
    byId("more").textContent = `Show ${Math.min(left, TABLES)} more tables of ${left}`;
    byId("more").onclick = () => change({ n: String(limit + TABLES) });
    if (focus && where) document.querySelector(`section[aria-labelledby="${where}"] [data-sort="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
    document.body.dataset.drawn = String(mine);
  }

  document.addEventListener("DOMContentLoaded", async () => {
    try {
      foldFilters();
      tables = decode(await load("index"));
      byId("filters").addEventListener("submit", (event) => event.preventDefault());
      addEventListener("hashchange", () => draw().catch(explain));
      await draw();
    } catch (error) {
      explain(error);
    }
  });
})();
