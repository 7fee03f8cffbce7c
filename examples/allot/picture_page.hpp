// SPDX-License-Identifier: MIT
/// \file
/// What the page of `allot map` consists of besides its data.
#pragma once

inline constexpr const char* page_style = R"css(
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --line: #999; --free: #eee; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --text: #e6e6e6; --line: #777; --free: #2a2d33; }
}
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  margin: 1em auto; max-width: 1200px; padding: 0 1em; }
h1 { font-size: 1.3em; overflow-wrap: anywhere; } h2 { font-size: 1.1em; }
table { border-collapse: collapse; margin: .5em 0; }
th, td { padding: .1em .8em .1em 0; text-align: left; font-weight: normal; vertical-align: top; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
#figures th { color: var(--line); }
.kind { margin-right: 1em; white-space: nowrap; }
.kind i { display: inline-block; width: .9em; height: .9em; margin-right: .4em; }
canvas { display: block; width: 100%; touch-action: none; border: 1px solid var(--line); }
canvas:focus { outline: 2px solid #4878cf; }
.lane { margin: .6em 0; } #at { min-height: 3em; overflow-wrap: anywhere; }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--line); }
@media print {
  :root { --back: #fff; --text: #000; --line: #666; --free: #eee; }
  .tools { display: none; } body { max-width: none; margin: 0; }
}
)css";

inline constexpr const char* page_script = R"js(
"use strict";
window.addEventListener("error", e => { document.body.dataset.error = e.message; });
const data = JSON.parse(document.getElementById("data").textContent);
const colors = ["#4878cf", "#d65f5f", "#59a55c", "#b47cc7", "#c4a000", "#3fa7b5", "#8c613c",
  "#888888"];
const OFFSET = 0, SIZE = 1, KIND = 2, NAME = 3, FROM = 4, TO = 5;
const hasTime = data.events > 0;
const views = document.getElementById("views"), at = document.getElementById("at");
let cursor = 0, matching = null, inPrint = false;

function bytes(n) {
  const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (n >= 1024 && i + 1 < names.length) { n /= 1024; ++i; }
  return (Math.floor(n * 100) / 100) + " " + names[i];
}
function color(name) {
  const light = { "--back": "#fff", "--text": "#000", "--line": "#666", "--free": "#eee" };
  return inPrint ? light[name] : getComputedStyle(document.documentElement).getPropertyValue(name);
}
function describe(b) {
  const name = data.names[b[NAME]] || data.kinds[b[KIND]];
  let text = name + ": " + bytes(b[SIZE]) + " (" + b[SIZE] + " bytes) at " + b[OFFSET];
  if (hasTime) text += ", events " + b[FROM] + " to " + b[TO];
  return text;
}

// A range of numbers that several canvases show: events, or a part of every lane.
class Range {
  constructor(length) { this.length = length; this.all(); this.canvases = []; }
  all() { this.from = 0; this.to = this.length; }
  set(from, to) {
    const least = this.length / 1e6, span = Math.min(Math.max(to - from, least), this.length);
    this.from = Math.min(Math.max(from, 0), this.length - span);
    this.to = this.from + span;
    this.draw();
  }
  zoom(factor, around) {
    this.set(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }
  move(part) { const by = (this.to - this.from) * part; this.set(this.from + by, this.to + by); }
  draw() { for (const c of this.canvases) c.redraw(); }
}

// A canvas over a range: wheel, pinch, drag and keys change the range, a move points.
function addCanvas(parent, height, label, range, draw, point) {
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  canvas.style.height = height + "px";
  parent.append(canvas);
  const x = e => {
    const box = canvas.getBoundingClientRect();
    return Math.min(Math.max((e.clientX - box.left) / box.width, 0), 1);
  };
  const y = e => {
    const box = canvas.getBoundingClientRect();
    return Math.min(Math.max((e.clientY - box.top) / box.height, 0), 1);
  };
  const value = part => range.from + part * (range.to - range.from);
  canvas.redraw = () => {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 1000;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const g = canvas.getContext("2d");
    g.scale(ratio, ratio);
    g.fillStyle = color("--back");
    g.fillRect(0, 0, width, height);
    draw(g, width, height);
  };
  const pointers = new Map();
  canvas.addEventListener("wheel", e => {
    e.preventDefault();
    range.zoom(e.deltaY > 0 ? 1.25 : 0.8, value(x(e)));
  }, { passive: false });
  canvas.addEventListener("pointerdown", e => {
    canvas.setPointerCapture(e.pointerId);
    pointers.set(e.pointerId, x(e));
  });
  const up = e => pointers.delete(e.pointerId);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointermove", e => {
    if (!pointers.has(e.pointerId)) return point(value(x(e)), y(e));
    const before = pointers.get(e.pointerId), now = x(e);
    if (pointers.size === 1) {
      range.move(before - now);
    } else {
      const other = [...pointers].find(([id]) => id !== e.pointerId)[1];
      const was = Math.abs(before - other), is = Math.abs(now - other);
      if (was > 0.01 && is > 0.01) range.zoom(was / is, value(other));
    }
    pointers.set(e.pointerId, now);
  });
  canvas.addEventListener("keydown", e => {
    const middle = (range.from + range.to) / 2;
    const keys = { "+": () => range.zoom(0.8, middle), "-": () => range.zoom(1.25, middle),
      "0": () => { range.all(); range.draw(); }, ArrowLeft: () => range.move(-0.1),
      ArrowRight: () => range.move(0.1) };
    if (!keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  });
  range.canvases.push(canvas);
  return canvas;
}
function fill(g, block) {
  g.fillStyle = colors[block[KIND] % colors.length];
  g.globalAlpha = matching === null || matching.has(block[NAME]) ? 1 : 0.15;
}
function largest(blocks, count) {
  return [...blocks].sort((a, b) => b[SIZE] - a[SIZE]).slice(0, count);
}

// A lane at one moment, its bytes to the right.
function addStrip(parent, lane, height, range, isShown) {
  const find = place => lane.blocks.find(b => isShown(b) && b[OFFSET] <= place &&
    place < b[OFFSET] + b[SIZE]);
  return addCanvas(parent, height, "blocks of " + lane.name, range, (g, width, tall) => {
    const scale = width / (range.to - range.from), whole = lane.bytes / range.length;
    g.fillStyle = color("--free");
    g.fillRect(0, 0, width, tall);
    for (const b of lane.blocks) {
      if (!isShown(b)) continue;
      const left = (b[OFFSET] / whole - range.from) * scale, wide = b[SIZE] / whole * scale;
      if (left > width || left + wide < 0) continue;
      fill(g, b);
      g.fillRect(left, 0, Math.max(wide - (wide > 3 ? 1 : 0), 0.5), tall);
    }
    g.globalAlpha = 1;
  }, place => {
    const block = find(place * lane.bytes / range.length);
    at.textContent = block ? lane.name + ", " + describe(block)
      : lane.name + ", " + bytes(place * lane.bytes / range.length) + ": free";
  });
}

function momentAt(event) {
  let low = 0, high = data.moments.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.moments[middle][0] <= event) low = middle; else high = middle - 1;
  }
  return data.moments[low];
}

function addTime() {
  const lane = data.lanes[0], time = new Range(data.events), place = new Range(1);
  const peak = Math.max(...data.moments.map(m => m[1]), 1);
  const isLive = b => b[FROM] <= cursor && cursor < b[TO];
  const heading = text => {
    const h = document.createElement("h2");
    h.textContent = text;
    views.append(h);
  };
  const drawCursor = (g, width, height) => {
    g.fillStyle = color("--text");
    g.fillRect((cursor - time.from) / (time.to - time.from) * width, 0, 1, height);
  };
  const pointTo = event => {
    cursor = Math.min(Math.floor(event), data.events - 1);
    const m = momentAt(cursor), live = lane.blocks.filter(isLive);
    at.textContent = "event " + cursor + ": " + bytes(m[1]) + " live, fragmentation " +
      (m[2] / 10) + " %; largest: " +
      largest(live, 3).map(b => data.names[b[NAME]] || bytes(b[SIZE])).join(", ");
    time.draw();
    place.draw();
  };
  heading("Live bytes and fragmentation over time");
  addCanvas(views, 140, "live bytes over time", time, (g, width, height) => {
    const scale = width / (time.to - time.from);
    const line = (of, isArea) => {
      g.beginPath();
      g.moveTo((data.moments[0][0] - time.from) * scale, height);
      let y = height;
      for (const m of data.moments) {
        const x = (m[0] - time.from) * scale;
        g.lineTo(x, y);
        y = height - of(m) * (height - 6);
        g.lineTo(x, y);
      }
      g.lineTo((data.events - time.from) * scale, y);
      if (isArea) { g.lineTo((data.events - time.from) * scale, height); g.fill(); }
      else g.stroke();
    };
    g.fillStyle = colors[0];
    line(m => m[1] / peak, true);
    g.strokeStyle = colors[1];
    line(m => m[2] / 1000, false);
    drawCursor(g, width, height);
  }, pointTo);
  heading("Memory over time, the start of the arena at the bottom");
  addCanvas(views, 420, "blocks over time", time, (g, width, height) => {
    const scale = width / (time.to - time.from);
    for (const b of lane.blocks) {
      const left = (b[FROM] - time.from) * scale, wide = (b[TO] - b[FROM]) * scale;
      if (left > width || left + wide < 0) continue;
      const tall = b[SIZE] / lane.bytes * height;
      fill(g, b);
      g.fillRect(left, height - (b[OFFSET] + b[SIZE]) / lane.bytes * height,
        Math.max(wide, 0.3), Math.max(tall - (tall > 3 ? 0.5 : 0), 0.3));
    }
    g.globalAlpha = 1;
    drawCursor(g, width, height);
  }, (event, y) => {
    pointTo(event);
    const where = (1 - y) * lane.bytes;
    const block = lane.blocks.find(b => isLive(b) && b[OFFSET] <= where &&
      where < b[OFFSET] + b[SIZE]);
    if (block) at.textContent += ". Here: " + describe(block);
  });
  heading("Memory at the cursor");
  addStrip(views, lane, 50, place, isLive);
  for (const button of document.querySelectorAll("#peaks button"))
    button.addEventListener("click", () => pointTo(Number(button.dataset.event)));
  const first = document.querySelector("#peaks button");
  pointTo(first ? Number(first.dataset.event) : 0);
  return [time, place];
}

function addLanes() {
  const part = new Range(1);
  for (const lane of data.lanes) {
    const box = document.createElement("div");
    box.className = "lane";
    box.textContent = lane.name + ", " + bytes(lane.bytes);
    views.append(box);
    addStrip(box, lane, 70, part, () => true);
  }
  part.draw();
  return [part];
}

const ranges = hasTime ? addTime() : addLanes();
const redraw = () => { for (const range of ranges) range.draw(); };
window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
window.addEventListener("beforeprint", () => { inPrint = true; redraw(); });
window.addEventListener("afterprint", () => { inPrint = false; redraw(); });

document.getElementById("search").addEventListener("input", e => {
  const text = e.target.value.toLowerCase();
  matching = text === "" ? null : new Set();
  let count = 0, sum = 0;
  if (matching) {
    data.names.forEach((name, i) => {
      if (i > 0 && name.toLowerCase().includes(text)) matching.add(i);
    });
    for (const lane of data.lanes)
      for (const b of lane.blocks) if (matching.has(b[NAME])) { ++count; sum += b[SIZE]; }
  }
  document.getElementById("found").textContent =
    matching ? count + " blocks, " + bytes(sum) : "";
  redraw();
});

const table = document.getElementById("largest");
for (const lane of data.lanes) {
  for (const b of largest(lane.blocks.filter(b => hasTime || data.kinds[b[KIND]] !== "free"), 10)) {
    const row = table.insertRow();
    row.insertCell().textContent = bytes(b[SIZE]);
    row.insertCell().textContent = lane.name;
    row.insertCell().textContent = describe(b);
  }
}
document.body.dataset.ready = "yes";
)js";
