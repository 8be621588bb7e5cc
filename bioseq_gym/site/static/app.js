"use strict";
// What is shown is all in the address: each view can be linked to, and the browser's back button works.

let view = ""; // board and submission that are shown
let latest = 0; // how often a view was asked for: one that took longer than the next is not shown

async function render() {
  const state = current();
  const boards = bioseq.known.get("index").boards;
  const main = document.getElementById("main");
  const named = boards.find((name) => name === state.board) || boards[0];
  if (!named) return main.replaceChildren(make("p", {}, "There is no submission yet."));
  const links = boards.map((name) => make("a", {
    id: "board-" + name, href: address({ board: name }), "aria-current": name === named ? "page" : null,
  }, name));
  state.board = named;
  const turn = ++latest;
  let parts, title = "bioseq_gym leaderboards";
  try {
    const board = await bioseq.get(named + "/board");
    const row = board.rows.find((r) => r.id === state.submission);
    parts = await (row ? submissionView(board, row, state) : boardView(board, state));
    title = `${row ? row.label + " on " : ""}${board.name} – ${title}`;
  } catch (error) {
    parts = [alarm(error)];
  }
  if (turn !== latest) return;
  document.title = title;
  swap(main, links, parts, [state.board, state.submission].join(" "));
}

function alarm(error) {
  return make("p", { role: "alert" }, `${error.message}. Build the page anew: bioseq-gym leaderboard --rebuild`);
}

/** Put links and parts in place. If they are the same view, built anew, then focus, caret and what was scrolled or open stay. */
function swap(main, links, parts, now) {
  const same = view === now || view === "";
  view = now;
  const focused = document.activeElement;
  const caret = focused.id === "filter" ? focused.selectionStart : null;
  const boxes = [...main.querySelectorAll(".scrolling")].map((box) => [box.scrollLeft, box.scrollTop]);
  const open = main.querySelector("details[open]") !== null;
  document.getElementById("boards").replaceChildren(...links);
  main.replaceChildren(...parts);
  for (const name of ["header", "footer"]) document.querySelector(name).hidden = false; // now that they have their places
  const count = document.getElementById("count");
  document.getElementById("said").textContent = count ? count.textContent : ""; // heard, since it was there before its text
  const element = same ? document.getElementById(focused.id) : main.querySelector("h1");
  if (element) element.focus({ preventScroll: same });
  if (!same) return scrollTo(0, 0);
  if (caret !== null) element.setSelectionRange(caret, caret);
  main.querySelectorAll(".scrolling").forEach((box, i) => boxes[i] && box.scrollTo(...boxes[i]));
  if (open && main.querySelector("details")) main.querySelector("details").open = true;
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
bioseq.get("index").then(() => {
  addEventListener("hashchange", render);
  trust();
  return render();
}).catch((error) => document.getElementById("main").replaceChildren(alarm(error)));
