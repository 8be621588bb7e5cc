"use strict";
// A board: switches, curves of the selected rows, the table.

const DRAWN = 6; // rows whose curves are drawn until somebody chooses
const VERDICTS = ["different", "", "compatible", "identical"]; // of a reproduction, the best last

const verdict = (row) => VERDICTS.indexOf(row.reproduced || "");

/** The columns; `of` gives what a row is sorted by, if not `rank`, and `text` what it shows. Best first is `up` for smaller is better. */
function columns(board, budget, group) {
  const number = (row, name) => row.numbers[group][name][budget];
  const n = thousands(board.budgets[budget]);
  return [
    { key: "agent", head: "agent", of: (row) => row.label, up: true },
    { key: "regret", head: `regret @ ${n}`, of: (row) => number(row, "regret")[0], up: true, text: (row) => interval(number(row, "regret")) },
    { key: "aocc", head: `AOCC @ ${n}`, of: (row) => number(row, "aocc")[0], up: false, text: (row) => interval(number(row, "aocc")) },
    { key: "constraints", head: "constraints", of: (row) => row.constraints, up: true },
    { key: "reproduced", head: "reproduced", of: (row) => row.reproduced && `${row.reproduced} ${row.again}`, rank: verdict, up: false },
    { key: "ledgers", head: "ledgers", of: (row) => row.ledgers, up: false },
    { key: "runs", head: "runs", of: (row) => row.runs, up: false, text: (row) => String(row.runs) },
    { key: "wall", head: "wall time", of: (row) => row.wall ?? Infinity, up: true, text: (row) => seconds(row.wall) },
  ];
}

async function boardView(board, state) {
  const given = board.budgets.indexOf(Number(state.budget));
  const budget = given < 0 ? board.budgets.length - 1 : given;
  const group = Math.max(0, board.groups.findIndex((g) => g.name === state.group));
  const all = columns(board, budget, group);
  const by = all.find((column) => column.key === state.sort) || all.find((column) => column.key === "aocc");
  const sorted = rows(board, by, state);
  const shown = state.show === undefined ? sorted.slice(0, DRAWN).map((row) => row.id) : state.show.split(",");
  const chosen = sorted.filter((row) => shown.includes(row.id));
  const found = await Promise.all(chosen.map((row) => bioseq.get(`${board.name}/of/${row.id}`)));
  const looks = new Map(chosen.map((row, i) => [row.id, `${i % 8}${i < 8 ? "" : " again"}`]));
  const line = (row, i, name, band) =>
    ({ label: row.label, look: looks.get(row.id), values: found[i].curves[group][name], band: band && found[i].curves[group].band });
  const regrets = chosen.map((row, i) => line(row, i, "regret", true));
  const shares = chosen.map((row, i) => line(row, i, "ecdf", false));
  const tasks = board.groups[group].tasks.length;
  return [
    make("h1", { tabindex: "-1" }, board.name),
    make("p", {}, `${count(board.rows.length, "submission")}, ${count(tasks, "task")}, a budget of ` +
      `${count(board.budgets.at(-1), "distinct evaluation")} a run. Regret 1 is bad, 0 is solved. AOCC, the area over the ` +
      "convergence curve on a logarithmic axis, is what the board is ranked by: 1 is the best."),
    make("form", { class: "switches", onsubmit: (event) => event.preventDefault() },
      budgetSwitch(board, budget), groupSwitch(board, state), ...filters(state)),
    make("div", { class: "charts" },
      chart("Simple regret, interquartile mean and its 95 % interval", board.grid, regrets),
      chart("Share of targets reached", board.grid, shares)),
    legend(regrets),
    make("p", { id: "count", class: "note" }, `${sorted.length} of ${count(board.rows.length, "row")}, ${chosen.length} of them drawn`),
    scrolling("Table of submissions", table(sorted, all, by, shown, state)),
  ];
}

/** The rows that pass the filters, sorted; equals stay in the order of the data, the best first. */
function rows(board, by, state) {
  const words = (state.filter || "").toLowerCase().split(/\s+/).filter(Boolean);
  const passing = board.rows.filter((row) =>
    words.every((word) => row.label.toLowerCase().includes(word)) &&
    (!state.constraints || row.constraints === state.constraints) &&
    (!state.reproduced || verdict(row) > VERDICTS.indexOf("")));
  const sign = (by.up ? 1 : -1) * (state.order === "reversed" ? -1 : 1);
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const rank = by.rank || by.of;
  return [...passing].sort((a, b) => sign * compare(rank(a), rank(b)));
}

function table(sorted, all, by, shown, state) {
  const heads = all.map((column) => {
    const here = column === by;
    const reversed = here && state.order !== "reversed" ? "reversed" : null;
    const ascending = column.up === (state.order !== "reversed");
    const go = () => change({ sort: column.key, order: reversed });
    return make("th", { scope: "col", "aria-sort": here ? (ascending ? "ascending" : "descending") : null },
      make("button", { type: "button", id: "sort-" + column.key, onclick: go }, column.head, make("span", { "aria-hidden": "true" }, here ? (ascending ? " ▲" : " ▼") : " ↕")));
  });
  const body = sorted.map((row) => make("tr", {},
    make("td", {}, make("input", {
      type: "checkbox", id: "draw-" + row.id, checked: shown.includes(row.id), "aria-label": "draw " + row.label,
      onchange: (event) => {
        const { show } = current();
        const rest = (show === undefined ? shown : show.split(",")).filter((id) => id !== row.id);
        change({ show: (event.target.checked ? [...rest, row.id] : rest).join(",") || "none" });
      },
    })),
    ...all.map((column) => column.key === "agent"
      ? make("th", { scope: "row" }, make("a", { href: address({ ...state, submission: row.id }) }, row.label))
      : make("td", { class: column.text ? "number" : null }, column.text ? column.text(row) : column.of(row) || "–"))));
  return make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "draw"), ...heads)),
    make("tbody", {}, ...body));
}

function budgetSwitch(board, chosen) {
  return make("fieldset", {}, make("legend", {}, "evaluations"), ...board.budgets.map((n, i) =>
    make("label", {}, make("input", {
      type: "radio", name: "budget", id: "budget-" + n, value: n, checked: i === chosen,
      onchange: () => change({ budget: n }),
    }), thousands(n))));
}

function groupSwitch(board, state) {
  const select = make("select", {
    id: "group", onchange: () => change({ group: select.value, task: null, seed: null }),
  }, ...board.groups.map((g) => make("option", { value: g.name, selected: g.name === state.group }, g.name)));
  return make("label", { class: "field" }, "tasks ", select);
}

function filters(state) {
  const text = make("input", {
    type: "search", id: "filter", value: state.filter || "", placeholder: "agent",
    oninput: () => { history.replaceState(null, "", address({ ...current(), filter: text.value })); render(); },
  });
  const select = make("select", {
    id: "constraints", onchange: () => change({ constraints: select.value }),
  }, ...[["", "all"], ["not shown", "not shown"], ["known", "known"]].map(([value, label]) =>
    make("option", { value, selected: value === (state.constraints || "") }, label)));
  const box = make("input", {
    type: "checkbox", id: "reproduced", checked: Boolean(state.reproduced),
    onchange: () => change({ reproduced: box.checked ? "yes" : null }),
  });
  return [
    make("label", { class: "field" }, "filter ", text),
    make("label", { class: "field" }, "constraints ", select),
    make("label", { class: "field" }, box, "reproduced only"),
  ];
}
