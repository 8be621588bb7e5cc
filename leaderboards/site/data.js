"use strict";
// Data come as scripts that call bioseq.put, since a page that was opened from disk may read nothing else.

const bioseq = {
  known: new Map(),
  asked: new Map(),

  put(name, value) {
    bioseq.known.set(name, value);
  },

  /** A promise of the data of that name; it is asked for once. */
  get(name) {
    if (!bioseq.asked.has(name)) bioseq.asked.set(name, bioseq.known.has(name) ? Promise.resolve() : load(name));
    return bioseq.asked.get(name).then(() => bioseq.known.get(name));
  },
};

function load(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "site/" + name.split("/").map(encodeURIComponent).join("/") + ".js";
    script.onload = () => (bioseq.known.has(name) ? resolve() : reject(new Error(script.src + " holds no data")));
    script.onerror = () => {
      bioseq.asked.delete(name); // so that it can be asked for again
      reject(new Error(script.src + " can't be read"));
    };
    document.head.append(script);
  });
}

/** An element: make("p", {class: "note"}, "text", other). Children are text or elements, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An address of this page: the state, in its fragment. */
function address(state) {
  const given = Object.entries(state).filter(([, value]) => value !== null && value !== "" && value !== undefined);
  return "#" + new URLSearchParams(given).toString();
}

/** What the address says now, which may be more than the view shows yet. */
function current() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/** Go to the view that differs in some of the state. */
function change(part) {
  location.hash = address({ ...current(), ...part });
}

function count(number, noun) {
  return number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s");
}

function seconds(time) {
  return time === null ? "–" : time.toFixed(1) + " s";
}

function thousands(number) {
  return number % 1000 === 0 ? number / 1000 + "k" : number.toLocaleString("en");
}

/** "0.548 [0.523, 0.572]" of a mean and its ends, if there are any. */
function interval([mean, low, high]) {
  return mean.toFixed(3) + (low === undefined ? "" : " [" + low.toFixed(3) + ", " + high.toFixed(3) + "]");
}
