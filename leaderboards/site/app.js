"use strict";
// What is shown is all in the address: each view can be linked to, and the browser's back button works.

let view = ""; // board and submission that are shown
let latest = 0; // how often a view was asked for: one that took longer than the next is not shown

async function render() {
  const state = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const boards = bioseq.known.get("index").boards;
  const main = document.getElementById("main");
  const named = boards.find((name) => name === state.board) || boards[0];
  if (!named) return main.replaceChildren(make("p", {}, "There is no submission yet."));
  document.getElementById("boards").replaceChildren(...boards.map((name) => make("a", {
    href: address({ board: name }), "aria-current": name === named ? "page" : null,
  }, name)));
  state.board = named;
  const focused = document.activeElement && document.activeElement.id;
  const caret = focused === "filter" ? document.activeElement.selectionStart : null;
  const turn = ++latest;
  try {
    const board = await bioseq.get(named + "/board");
    const row = board.rows.find((r) => r.id === state.submission);
    const parts = await (row ? submissionView(board, row, state) : boardView(board, state));
    if (turn !== latest) return;
    main.replaceChildren(...parts);
    document.title = `${row ? row.label + " on " : ""}${board.name} – bioseq_gym leaderboards`;
  } catch (error) {
    main.replaceChildren(make("p", { role: "alert" }, `${error.message}. Build the page anew: bioseq-gym leaderboard --rebuild`));
  }
  restore(main, focused, caret, [state.board, state.submission].join(" "));
}

/** The view was built anew: the focus goes where it was, or to the heading of another view. */
function restore(main, focused, caret, now) {
  const same = view === now || view === "";
  view = now;
  const element = same ? focused && document.getElementById(focused) : main.querySelector("h1");
  if (!element) return;
  element.focus({ preventScroll: same });
  if (caret !== null) element.setSelectionRange(caret, caret);
  if (!same) scrollTo(0, 0);
}

function trust() {
  const paragraphs = bioseq.known.get("index").trust.map((spans) =>
    make("p", {}, ...spans.map(([tag, text]) => (tag ? make(tag, {}, text) : text))));
  document.getElementById("trust").append(...paragraphs);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the state
  document.getElementById("main").focus();
});
addEventListener("hashchange", render);
trust();
render();
