"use strict";
// Curves in SVG: a logarithmic axis of evaluations, steps, bands, and what each curve is at the pointer.

const WIDTH = 560, HEIGHT = 320, LEFT = 50, RIGHT = 18, TOP = 12, BOTTOM = 40;

function shape(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * A figure of curves from 0 to 1.
 * title: its caption. grid: (g) evaluations. lines: [{label, look, values: (g), band: [(g), (g)] or null}], the first on top.
 */
function chart(title, grid, lines) {
  const first = Math.log10(grid[0]), span = Math.log10(grid[grid.length - 1]) - first || 1;
  const x = (n) => LEFT + ((Math.log10(n) - first) / span) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value) * (HEIGHT - TOP - BOTTOM);
  const at = (i, value) => x(grid[i]).toFixed(1) + "," + y(value).toFixed(1);
  /** A step function, each value held up to the next point. */
  const steps = (values) => values.flatMap((v, i) => (i ? [at(i, values[i - 1]), at(i, v)] : [at(i, v)]));

  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": described(title, grid, lines) });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { class: "tick", x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  for (const n of ticks(grid[0], grid[grid.length - 1])) {
    svg.append(shape("line", { class: "grid", x1: x(n), x2: x(n), y1: TOP, y2: HEIGHT - BOTTOM }));
    svg.append(shape("text", { class: "tick", x: x(n), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, thousands(n)));
  }
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  svg.append(shape("text", { class: "tick", x: middle, y: HEIGHT - 6, "text-anchor": "middle" }, "distinct evaluations"));
  for (const line of [...lines].reverse()) {
    if (line.band) {
      const points = [...steps(line.band[0]), ...steps(line.band[1]).reverse()];
      svg.append(shape("polygon", { class: "band look-" + line.look, points: points.join(" ") }));
    }
    svg.append(shape("polyline", { class: "curve look-" + line.look, points: steps(line.values).join(" ") }));
  }
  const pointer = shape("line", { class: "pointer", x1: -9, x2: -9, y1: TOP, y2: HEIGHT - BOTTOM });
  const readout = make("p", { class: "readout", "aria-hidden": "true" }, "\u00a0");
  svg.append(pointer);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    const n = 10 ** (first + Math.min(1, Math.max(0, share)) * span);
    const i = Math.max(0, grid.findLastIndex((point) => point <= n * 1.0001));
    pointer.setAttribute("x1", x(grid[i]));
    pointer.setAttribute("x2", x(grid[i]));
    const found = lines.map((line) => line.label + " " + line.values[i].toFixed(3));
    readout.textContent = grid[i].toLocaleString("en") + ": " + found.join(", ");
  });
  return make("figure", {}, make("figcaption", {}, title), svg, readout);
}

/** Numbers 1, 3, 10, 30 … that lie on the axis. */
function ticks(from, to) {
  const found = [];
  for (let power = 1; power <= to; power *= 10) for (const n of [power, 3 * power]) if (n >= from && n <= to) found.push(n);
  return found;
}

function described(title, grid, lines) {
  const ends = lines.map((line) => `${line.label} ${line.values[line.values.length - 1].toFixed(3)}`);
  return `${title}, against ${grid[0]} to ${grid[grid.length - 1]} distinct evaluations. At the end: ${ends.join(", ")}.`;
}

function legend(lines) {
  const swatch = (line) => {
    const svg = shape("svg", { viewBox: "0 0 28 10", class: "swatch", "aria-hidden": "true" });
    svg.append(shape("line", { class: "curve look-" + line.look, x1: 0, x2: 28, y1: 5, y2: 5 }));
    return svg;
  };
  return make("ul", { class: "legend" }, ...lines.map((line) => make("li", {}, swatch(line), line.label)));
}
