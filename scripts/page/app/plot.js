// What was asked and what is, and how the memory was read, over the last seconds.
import { short } from "./panel.js";

export const SECONDS = 20;
const COLUMNS = 1000; // of a plot at most: where steps are short, means of several are kept
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LEFT = 44, RIGHT = 6, TOP = 8, BOTTOM = 20;

function sheet(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return { pen, width, height };
}

// A round step that gives about three lines.
function step(span) {
  const rough = span / 3, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
}

export class History {
  constructor(dt, slots) {
    this.every = Math.max(1, Math.ceil(SECONDS / dt / COLUMNS));
    this.dt = dt * this.every;
    this.length = Math.ceil(SECONDS / this.dt);
    this.slots = slots;
    this.sum = this.taken = 0;
    this.real = new Float64Array(this.length).fill(NaN);
    this.asked = new Float64Array(this.length).fill(NaN);
    this.attention = slots ? new Float32Array(this.length * slots) : null;
    this.events = new Uint8Array(this.length);
    this.n = 0;
    this.pending = 0;
  }

  event(kind) { this.pending = Math.max(this.pending, kind); }

  add(real, asked, attention) {
    this.sum += real;
    this.taken += 1;
    if (this.taken < this.every) return;
    const i = this.n % this.length;
    this.real[i] = this.sum / this.taken;
    this.sum = this.taken = 0;
    this.asked[i] = asked;
    this.events[i] = this.pending;
    this.pending = 0;
    if (this.attention) this.attention.set(attention ?? new Float32Array(this.slots), i * this.slots);
    this.n += 1;
  }

  // Indices from the oldest to the newest, with their age in steps.
  *each() {
    const count = Math.min(this.n, this.length);
    for (let k = count - 1; k >= 0; k--) yield [(this.n - 1 - k) % this.length, k];
  }
}

// A mean over so many seconds: a stride is no change of speed.
function smooth(values, history, seconds) {
  const width = Math.max(1, Math.round(seconds / history.dt)), out = [], window = [];
  let sum = 0;
  for (const [i, age] of history.each()) {
    if (history.events[i] === 2) { window.length = 0; sum = 0; }
    window.push(values[i]);
    sum += values[i];
    if (window.length > width) sum -= window.shift();
    out.push([age, sum / window.length]);
  }
  return out;
}

export function drawLines(canvas, history, { least, smoothing }) {
  const { pen, width, height } = sheet(canvas);
  const real = smooth(history.real, history, smoothing), asked = [...history.each()].map(([i, age]) => [age, history.asked[i]]);
  const all = [...real, ...asked].map(([, y]) => y).filter(Number.isFinite);
  let low = Math.min(0, ...all), high = Math.max(low + least, ...all);
  const gap = step(high - low);
  low = Math.floor(low / gap) * gap;
  high = Math.ceil(high / gap - 1e-9) * gap;
  const x = (age) => width - RIGHT - (age / history.length) * (width - LEFT - RIGHT);
  const y = (v) => height - BOTTOM - ((v - low) / (high - low)) * (height - TOP - BOTTOM);
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  for (let v = low; v <= high + 1e-9; v += gap) {
    pen.strokeStyle = css("--line");
    pen.beginPath(); pen.moveTo(LEFT, y(v)); pen.lineTo(width - RIGHT, y(v)); pen.stroke();
    pen.fillStyle = css("--soft");
    pen.textAlign = "right";
    pen.fillText(short(+(Math.round(v / gap) * gap).toPrecision(3)).replace("-", "−"), LEFT - 7, y(v));
  }
  pen.textBaseline = "alphabetic";
  for (let s = 0; s <= SECONDS; s += 5) {
    pen.textAlign = s === 0 ? "right" : "center";
    pen.fillText(s === 0 ? "now" : `−${s} s`, Math.max(x(s / history.dt), LEFT + 12), height - 4);
  }
  for (const [i, age] of history.each()) {
    if (history.events[i] !== 2) continue;
    pen.strokeStyle = css("--track");
    pen.setLineDash([2, 3]);
    pen.beginPath(); pen.moveTo(x(age), TOP); pen.lineTo(x(age), height - BOTTOM); pen.stroke();
    pen.setLineDash([]);
  }
  const line = (points, colour, dash, breaks) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.setLineDash(dash);
    pen.beginPath();
    let begun = false;
    points.forEach(([age, v], k) => {
      if (!Number.isFinite(v)) { begun = false; return; }
      if (begun && !(breaks && history.events[(history.n - 1 - age) % history.length] === 2)) pen.lineTo(x(age), y(v)); else pen.moveTo(x(age), y(v));
      begun = true;
    });
    pen.stroke();
    pen.setLineDash([]);
  };
  line(asked, css("--goal"), [5, 4], false);
  line(real, css("--accent"), [], true);
}

export function drawAttention(canvas, history) {
  const { pen, width, height } = sheet(canvas);
  const { slots, attention } = history;
  const row = (height - 4) / slots, column = (width - LEFT - RIGHT) / history.length;
  pen.fillStyle = css("--soft");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.fillText("slot 1", LEFT - 7, 2 + row / 2);
  pen.fillText(String(slots), LEFT - 7, 2 + (slots - 0.5) * row);
  pen.fillStyle = css("--accent");
  for (const [i, age] of history.each()) {
    for (let s = 0; s < slots; s++) {
      pen.globalAlpha = Math.min(1, 0.06 + 1.1 * attention[i * slots + s]);
      pen.fillRect(width - RIGHT - (age + 1) * column, 2 + s * row, column + 0.5, row - 1);
    }
  }
  pen.globalAlpha = 1;
}
