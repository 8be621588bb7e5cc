"use strict";
// One submission: its card, its curves, its best designs, its runs.

async function submissionView(board, row, state) {
  const [found, tasks] = await Promise.all([
    bioseq.get(`${board.name}/of/${row.id}`),
    bioseq.get(`${board.name}/tasks`),
  ]);
  const lines = (values, band) => [{ label: row.label, look: 0, values, band }];
  const group = Math.max(0, board.groups.findIndex((g) => g.name === state.group));
  const curves = found.curves[group];
  const run = found.runs.find((r) => r.task === state.task && String(r.seed) === state.seed) || bestRun(found.runs);
  const back = { ...state, submission: null, task: null, seed: null };
  return [
    make("p", {}, make("a", { href: address(back) }, "← " + board.name)),
    make("h1", { tabindex: "-1" }, row.label),
    card(found, row, board),
    section("Curves", groupSwitch(board, state),
      make("div", { class: "charts" },
        chart("Simple regret, interquartile mean and its 95 % interval", board.grid, lines(curves.regret, curves.band)),
        chart("Share of targets reached", board.grid, lines(curves.ecdf, null)))),
    section("Best design", runSwitch(found.runs, run), design(run, tasks[run.task])),
    section("Runs", runTable(found.runs, board, state)),
  ];
}

function section(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}

function bestRun(runs) {
  return runs.reduce((best, run) => (run.regret.at(-1) < best.regret.at(-1) ? run : best));
}

function card(found, row, board) {
  const facts = [
    ...found.card,
    ["constraints", row.constraints === "known" ? "known to it" : "not shown to it"],
    ["reproduced", found.reproduction || "by nobody yet"],
    ["ledgers", row.ledgers === "whole" ? "whole: every evaluation" : "abridged: the evaluations that improved"],
    ["runs", `${count(row.runs, "run")}, median wall time ${seconds(row.wall)}, as they state`],
    ["SHA-256", found.digest],
  ];
  const links = Object.entries(found.links).map(([key, href]) => make("a", { href, rel: "noreferrer nofollow" }, key));
  const raw = make("a", { href: `${board.name}/${found.file}`, download: true }, "raw ledgers (.zip)");
  return make("div", {},
    make("p", { class: "links" }, raw, ...links),
    make("dl", {}, ...facts.flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)])),
    make("details", {}, make("summary", {}, "Settings"), make("pre", {}, found.config)));
}

function runSwitch(runs, chosen) {
  const select = make("select", {
    id: "run", onchange: () => change({ task: runs[select.value].task, seed: runs[select.value].seed }),
  }, ...runs.map((run, i) => make("option", { value: i, selected: run === chosen },
    `${run.task}, seed ${run.seed}: value ${(1 - run.regret.at(-1)).toFixed(3)}`)));
  return make("label", { class: "field" }, "of the run ", select);
}

/** The sequence, with the elements of each motif that are there, and those that are missing where it matches best. */
function design(run, task) {
  const marks = new Map(); // position -> [{motif, found, wanted}]
  run.matches.forEach(([first, found], motif) => task.offsets[motif].forEach((offset, j) => {
    const at = first + offset;
    marks.set(at, [...(marks.get(at) || []), { motif, found: found[j] === "1", wanted: task.motifs[motif][j] }]);
  }));
  const cells = run.best.map((token, at) => {
    const here = marks.get(at) || [];
    const mark = here.find((m) => m.found) || here[0];
    const kind = mark ? ` motif look-${mark.motif % 8} ${mark.found ? "found" : "missing"}` : "";
    const said = here.map((m) => `motif ${m.motif + 1} ${m.found ? "has this" : "wants " + m.wanted}`).join(", ");
    const title = `position ${at}, token ${token}` + (said && ": " + said);
    const under = make("small", {}, here.length ? here.map((m) => m.motif + 1).join("·") : "\u00a0");
    return make("li", { class: "cell" + kind, title }, String(token), under);
  });
  const said = run.matches.map(([first, found], motif) => {
    const places = task.offsets[motif].map((offset) => first + offset);
    const share = `${[...found].filter((f) => f === "1").length} of ${found.length}`;
    return make("li", {}, `Motif ${motif + 1}, elements ${task.motifs[motif].join(" ")} at ${places.join(" ")}: ${share} there`);
  });
  return make("div", {},
    make("ol", { class: "sequence", "aria-label": "tokens of the sequence" }, ...cells),
    make("p", { class: "note" }, "Filled: an element of a motif, whose number is below. Outlined: where the motif wants another token."),
    make("ul", {}, ...said));
}

function runTable(runs, board, state) {
  const heads = ["task", "seed", ...board.budgets.map((n) => "regret @ " + thousands(n)), "evaluations", "wall time", "ledger"];
  const rows = runs.map((run, i) => make("tr", {},
    make("th", { scope: "row" },
      make("a", { id: "run-" + i, href: address({ ...state, task: run.task, seed: run.seed }) }, run.task)),
    ...[String(run.seed), ...run.regret.map((r) => r.toFixed(3)), run.evaluations.toLocaleString("en"), seconds(run.wall)]
      .map((text) => make("td", { class: "number" }, text)),
    make("td", {}, make("code", { title: run.ledger }, run.ledger.slice(0, 12)))));
  return scrolling("Runs", make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows)));
}

/** A box in which a wide table scrolls, by keyboard too. */
function scrolling(name, table) {
  return make("div", { class: "scrolling", role: "region", tabindex: "0", "aria-label": name }, table);
}
