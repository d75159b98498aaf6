"use strict";
// The charts of a cell's page: learning curves, classes, confusion, t-SNE. The selected seed is stored in the hash of the address.
(() => {
  const { h, s, data, readHash, writeHash, sortable, scroll, mark, look, lines, responsive } = skelbench;
  const cell = data();
  const box = document.getElementById("charts");
  const section = (id, name, ...children) => h("section", { "aria-labelledby": id }, h("h2", { id }, name), children);
  const tall = (label, table) => { const box = scroll(label, table); box.classList.add("tall"); return box; };
  const percent = (value) => (value === null || value === undefined ? "–" : value.toFixed(1));
  const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);

  // ---- which seed
  function seedChoice(kinds) {
    const seeds = [...new Set(kinds.flat().map((one) => one.seed))].sort((a, b) => a - b);
    const asked = readHash().seed;
    const chosen = seeds.includes(Number(asked)) && asked !== "" && asked !== undefined ? Number(asked) : null;
    return { seeds, chosen };
  }
  function seedSelect({ seeds, chosen }, id, alone) {
    if (seeds.length < 2) return null;
    return h("p", { class: "filter inline" }, h("label", { for: id }, "Seed"),
      h("select", { id, onchange: (event) => { writeHash({ seed: event.target.value }, true); draw(id); } },
        alone ? null : h("option", { value: "" }, `all ${seeds.length}`),
        seeds.map((seed) => h("option", { value: String(seed), selected: seed === chosen }, String(seed)))));
  }
  const ofSeed = (all, chosen) => (chosen === null ? all : all.filter((one) => one.seed === chosen));

  // ---- learning curves
  function learning() {
    const several = cell.accuracy.length > 1;
    const name = (one, what) => (several ? `${what}, seed ${one.seed}` : what);
    const kinds = [["test", "test_top1", { colour: "c0", dash: "d0" }], ["held-out training subjects", "held_out_top1", { colour: "c1", dash: "d1" }]];
    const accuracy = kinds.flatMap(([what, column, style]) => cell.accuracy.map((one, i) => ({
      name: name(one, what), points: one[column], look: { mark: look(i).mark, ...style },
    }))).filter((one) => one.points && one.points.length);
    const loss = cell.loss.map((one) => ({ name: `seed ${one.seed}`, points: one.loss })).filter((one) => one.points && one.points.length);
    const charts = [];
    if (accuracy.length) {
      const rule = cell.floor === null ? null : { name: "untrained floor", value: Number(cell.floor.toFixed(1)) };
      charts.push(lines({ title: `Accuracy (${cell.protocol}) by epoch of the pre-training`, x: "epoch", y: "top-1, %", series: accuracy, rule }));
    }
    if (loss.length) charts.push(lines({ title: "Loss of the pre-training", x: "epoch", y: "loss", series: loss }));
    return charts.length ? section("learning", "Learning curves", h("div", { class: "figures" }, charts)) : null;
  }

  // ---- classes
  function classes(choice) {
    const used = ofSeed(cell.classes, choice.chosen);
    if (!used.length) return null;
    const rows = used[0].names.map((name, i) => {
      const values = used.map((one) => one.top1[i]).filter((value) => value !== null && value !== undefined);
      return { name, i, clips: used[0].clips[i], top1: values.length === used.length ? mean(values) : null };
    });
    const bar = (row) => (row.top1 === null ? "" : s("svg", { class: "bar", width: 160, height: 12, viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: "track", width: 100, height: 12 }), s("rect", { class: "level", width: Math.max(0.4, row.top1), height: 12 })));
    const columns = [
      { key: "class", name: "class", text: true, cell: (row) => row.name, value: (row) => row.name },
      { key: "clips", name: "test clips", class: "num", cell: (row) => String(row.clips ?? "–"), value: (row) => row.clips },
      { key: "top1", name: "top-1, %", class: "num", cell: (row) => percent(row.top1), value: (row) => row.top1 },
      { key: "bar", name: h("span", { class: "hidden" }, "bar"), class: "barcell", cell: bar },
    ];
    const about = choice.chosen === null && used.length > 1 ? `mean over ${used.length} seeds` : `seed ${used[0].seed}`;
    return section("classes", "Classes", seedSelect(choice, "seed-classes"), tall("Accuracy by class", sortable(`Accuracy by class, ${about}`, columns, rows, null)));
  }

  // ---- confusion
  function confusion(choice) {
    const used = ofSeed(cell.confusion, choice.chosen);
    if (!used.length) return null;
    const names = used[0].names;
    const counts = names.map(() => new Map());
    for (const { cells } of used) {
      for (let k = 0; k < cells.length; k += 3) {
        const [i, j, n] = cells.slice(k, k + 3); // true class, predicted class, clips
        counts[i].set(j, (counts[i].get(j) || 0) + n);
      }
    }
    const totals = counts.map((row) => [...row.values()].reduce((a, b) => a + b, 0));
    const wrong = counts.flatMap((row, i) => [...row].filter(([j]) => j !== i).map(([j, n]) => ({ i, j, n, share: (100 * n) / totals[i] })));
    wrong.sort((a, b) => b.share - a.share || b.n - a.n);
    const status = h("p", { class: "told", role: "status" }, "Point at a square, or move to it with the arrow keys.");
    const report = (i, j) => {
      const n = counts[i].get(j) || 0;
      status.textContent = `${names[i]} → ${names[j]}: ${n} of ${totals[i]} clips (${percent(totals[i] ? (100 * n) / totals[i] : null)} %)`;
    };
    const about = choice.chosen === null && used.length > 1 ? `clips of ${used.length} seeds together` : `seed ${used[0].seed}`;
    const first = wrong.slice(0, 10);
    const columns = [
      { key: "true", name: "true class", text: true, cell: (one) => names[one.i], value: (one) => names[one.i] },
      { key: "predicted", name: "predicted class", text: true, cell: (one) => names[one.j], value: (one) => names[one.j] },
      { key: "n", name: "clips", class: "num", cell: (one) => String(one.n), value: (one) => one.n },
      { key: "share", name: "of the class, %", class: "num", cell: (one) => percent(one.share), value: (one) => one.share },
    ];
    const table = first.length ? scroll("The most frequent confusions", sortable("The most frequent confusions", columns, first, { key: "share", dir: "desc" })) : null;
    return section("confusion", "Confusion", seedSelect(choice, "seed-confusion"),
      h("p", { class: "dim" }, `Rows: true class, columns: predicted class; the stronger the colour, the larger the share of the row; ${about}.`),
      matrix(names, counts, totals, report), status, table);
  }
  function matrix(names, counts, totals, report) {
    const at = { i: 0, j: 0 };
    const title = "Confusion matrix";
    const right = counts.reduce((sum, row, i) => sum + (row.get(i) || 0), 0);
    const all = totals.reduce((a, b) => a + b, 0);
    const description = `${names.length} classes; ${right} of ${all} clips are on the diagonal. The table below has the most frequent confusions.`;
    const holder = responsive(title, description, (width) => {
      const K = names.length;
      const longest = Math.max(...names.map((name) => name.length));
      const named = (width - 20) / K >= 9;
      const label = named ? Math.min(150, width * 0.32, 12 + longest * 6.6) : 16;
      const size = Math.max(3, Math.min(36, Math.floor((width - label - 4) / K)));
      const side = size * K;
      const cut = (name) => (name.length * 6.4 > label - 8 ? `${name.slice(0, Math.max(1, Math.floor((label - 14) / 6.4)))}…` : name);
      const svg = s("svg", { width: label + side + 4, height: label + side + 4, class: "matrix" });
      svg.append(s("rect", { class: "paper", x: label, y: label, width: side, height: side }));
      if (size >= 9) names.forEach((name, k) => {
        svg.append(s("text", { x: label - 6, y: label + size * (k + 0.5) + 4, "text-anchor": "end" }, cut(name), s("title", {}, name)));
        svg.append(s("text", { transform: `translate(${label + size * (k + 0.5) + 4} ${label - 6}) rotate(-90)` }, cut(name), s("title", {}, name)));
      });
      counts.forEach((row, i) => { for (const [j, n] of row) {
        const share = n / totals[i];
        svg.append(s("rect", { class: "heat", "data-i": i, "data-j": j, x: label + size * j, y: label + size * i, width: size - 0.5, height: size - 0.5, "fill-opacity": (0.06 + 0.94 * share).toFixed(3) }));
        if (size >= 22) svg.append(s("text", { class: `count${share > 0.7 ? " over" : share > 0.5 ? " mid" : ""}`, x: label + size * (j + 0.5), y: label + size * (i + 0.5) + 4, "text-anchor": "middle" }, String(n)));
      } });
      const cursor = s("rect", { class: "cursor", width: size, height: size, visibility: "hidden" });
      svg.append(cursor);
      const show = () => {
        cursor.setAttribute("x", label + size * at.j);
        cursor.setAttribute("y", label + size * at.i);
        cursor.setAttribute("visibility", "visible");
        report(at.i, at.j);
      };
      svg.addEventListener("pointermove", (event) => {
        const place = svg.getBoundingClientRect();
        const [j, i] = [event.clientX - place.left, event.clientY - place.top].map((v) => Math.floor((v - label) / size));
        if (i < 0 || j < 0 || i >= K || j >= K || (i === at.i && j === at.j && cursor.getAttribute("visibility") === "visible")) return;
        Object.assign(at, { i, j });
        show();
      });
      holder.onkeydown = (event) => {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
        if (!step) return;
        event.preventDefault();
        if (cursor.getAttribute("visibility") === "visible") {
          at.i = Math.min(K - 1, Math.max(0, at.i + step[0]));
          at.j = Math.min(K - 1, Math.max(0, at.j + step[1]));
        }
        show();
      };
      return svg;
    });
    fillAttributes(holder, { tabindex: "0", role: "group", "aria-label": "Confusion matrix; the arrow keys move from square to square" });
    return holder;
  }
  function fillAttributes(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  }

  // ---- t-SNE
  let lit = null;
  function tsne(choice) {
    const one = ofSeed(cell.tsne, choice.chosen)[0];
    if (!one) return null;
    const few = one.labels.length <= 21;
    lit ??= new Set(few ? [] : [0, 1, 2, 3, 4]); // with many classes only a few are coloured, else all would look alike
    const lookOf = (label) => (few ? look(label) : lit.has(label) ? look([...lit].indexOf(label)) : { colour: "faint", mark: "circle" });
    const shown = (label) => !few || !lit.size || lit.has(label);
    const title = `t-SNE of the test clips, seed ${one.seed}`;
    const thinned = one.points.length < one.all ? `, ${one.points.length} of ${one.all} drawn` : "";
    const chart = responsive(title, `${one.points.length} clips of ${one.labels.length} classes${thinned}; clips that are close are similar to the encoder.`, (width) => {
      const height = Math.min(width, 560);
      const [xs, ys] = [2, 3].map((k) => one.points.map((point) => point[k]));
      const [lowX, highX, lowY, highY] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      const scale = Math.min((width - 24) / (highX - lowX || 1), (height - 24) / (highY - lowY || 1));
      const svg = s("svg", { width, height });
      const order = [...one.points].sort((a, b) => lit.has(a[1]) - lit.has(b[1]));
      for (const [name, label, x, y] of order) {
        const { colour, mark: kind } = shown(label) ? lookOf(label) : { colour: "faint", mark: "circle" };
        svg.append(s("g", {}, s("title", {}, `${one.labels[label]}: ${name}`), mark(kind, width / 2 + (x - (lowX + highX) / 2) * scale, height / 2 - (y - (lowY + highY) / 2) * scale, 3.2, { class: `dot ${colour}` })));
      }
      return svg;
    });
    const toggle = (label) => { lit.has(label) ? lit.delete(label) : lit.add(label); draw(`class-${label}`); };
    const key = h("ul", { class: "legend pick" }, one.labels.map((name, label) => {
      const { colour, mark: kind } = lookOf(label);
      return h("li", {}, h("button", { type: "button", id: `class-${label}`, "aria-pressed": String(lit.has(label)), onclick: () => toggle(label) },
        s("svg", { width: 12, height: 12, "aria-hidden": "true" }, mark(kind, 6, 6, 4, { class: `dot ${colour}` })), name));
    }));
    return section("tsne", "t-SNE", seedSelect({ seeds: cell.tsne.map((each) => each.seed), chosen: one.seed }, "seed-tsne", true),
      h("p", { class: "dim" }, `${few ? "Choose classes to see them alone." : "Choose classes to colour them."} ${one.points.length} test clips${thinned}; seed ${one.seed}.`), key, chart);
  }

  // ---- the page
  document.querySelectorAll(".copyable").forEach((block) => {
    const button = block.querySelector("button");
    button.addEventListener("click", async () => {
      const code = block.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });
  const still = learning();
  function draw(focus) {
    const choice = seedChoice([cell.classes, cell.confusion, cell.tsne]);
    const parts = [still, classes(choice), confusion(choice), tsne(choice)].filter(Boolean);
    box.replaceChildren(...parts);
    if (focus) document.getElementById(focus)?.focus();
  }
  addEventListener("hashchange", () => draw());
  draw();
})();
