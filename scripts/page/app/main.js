// A policy that acts on a robot, in this page alone, while its task is changed.
import loadMujoco from "@mujoco/mujoco";
import { Graph, useRuntime } from "./graph.js";
import { Panel, shown } from "./panel.js";
import { drawAttention, drawLines, History } from "./plot.js";
import { View } from "./scene.js";
import { Simulation } from "./simulation.js";

const by = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const LATE = 0.3; // s; a page that was hidden, or is too slow, does not catch up
const SLOW = 24; // frames a second, below which it is drawn more coarsely

function unpacked(robot) {
  const arrays = Object.entries(robot.fields).map(([name, text]) => [name, new Float64Array(bytes(text).buffer)]);
  const files = Object.entries(robot.files).map(([name, text]) => [name, bytes(text)]);
  return { ...robot, fields: Object.fromEntries(arrays), files: Object.fromEntries(files) };
}

class Session {
  constructor(simulation, sensing, policies, robot) {
    Object.assign(this, { simulation, sensing, policies, robot });
    this.policy = policies[0];
    this.task = structuredClone(robot.task);
    this.history = new History(robot.dt, robot.slots);
    this.wanted = []; // what is to happen before the next step
    this.steps = 0;
    this.draws = 0;
    this.ms = 0;
    this.bounded = true; // episodes end after as many steps as in training
  }

  // Begin a new trial: nothing is known of the task.
  async forget() {
    this.state = new Float32Array(this.policy.state_size);
    this.reward = 0;
    this.episode = 0;
    await this.begin();
  }

  async begin() {
    const { qpos, qvel } = this.robot.starts;
    const k = this.draws++ % qpos.length;
    this.simulation.reset(qpos[k], qvel[k]);
    this.first = 1;
    this.earned = 0;
    this.episode += 1;
    this.substep = 0;
    this.jumped = true;
    this.history.event(2);
    this.action = new Float64Array(this.robot.action.scale.length);
    this.obs = (await this.sense()).obs;
  }

  sense() {
    const arrays = {};
    for (const name of this.sensing.inputs) arrays[name] = this.simulation.read(name, this.task, this.action);
    return this.sensing.run(arrays);
  }

  async decide() {
    const inputs = {
      obs: this.obs,
      reward: Float32Array.of(this.reward),
      episode_start: Float32Array.of(this.first),
      state_in: this.state,
    };
    const out = await this.policy.graph.run(inputs);
    if (out.state_out) this.state = out.state_out;
    this.first = 0;
    this.action = Float64Array.from(out.actions);
    this.attention = null;
    if (out.attention) {
      const { slots } = this.robot, heads = out.attention.length / slots;
      this.attention = Float32Array.from({ length: slots }, (_, s) => {
        let sum = 0;
        for (let h = 0; h < heads; h++) sum += out.attention[h * slots + s];
        return sum / heads;
      });
    }
  }

  // One substep; the policy acts before the first one of a step, and feels what came of it after the last.
  async advance() {
    if (this.substep === 0) {
      const begun = performance.now();
      while (this.wanted.length) await this.wanted.shift()();
      await this.decide();
      this.simulation.act(this.action);
      this.spent = performance.now() - begun;
    }
    const begun = performance.now();
    this.simulation.substep();
    this.substep += 1;
    if (this.substep >= this.robot.frame_skip) {
      this.simulation.finish();
      this.substep = 0;
      const felt = await this.sense();
      await this.feel(felt);
    }
    this.spent += performance.now() - begun;
    if (this.substep === 0) this.ms += 0.05 * (this.spent - this.ms);
  }

  async feel({ obs, reward, terms, terminated, error, real, asked }) {
    this.obs = obs;
    this.reward = reward[0];
    this.earned += this.reward;
    this.steps += 1;
    this.real = real?.[0] ?? error?.[0] ?? terms[0];
    this.history.add(this.real, asked?.[0] ?? NaN, this.attention);
    const broken = this.simulation.broken || !Number.isFinite(this.reward);
    if (broken) this.reward = 0;
    if (broken || terminated[0] || (this.bounded && this.simulation.elapsed >= this.robot.horizon)) await this.begin();
  }
}

function describe(robot) {
  by("name").textContent = robot.title;
  by("about").textContent = robot.about;
  const { asked, real, unit } = robot.plot;
  const word = (text, name) => Object.assign(document.createElement("span"), { textContent: text, className: name });
  by("plot-title").replaceChildren(...(asked ? [word(asked, "asked"), " and ", word(real, "real")] : [word(real, "real")]), unit ? `, ${unit}` : "");
  by("notes").textContent = robot.notes.join(" ");
  by("memory").hidden = !robot.slots;
}

function numbers(session, fps, speed) {
  const rows = [
    ["episode", session.episode], ["return", shown(session.earned)],
    ["frames/s", fps.toFixed(0)], ["a step", `${session.ms.toFixed(1)} ms`],
  ];
  const list = by("numbers");
  if (!list.children.length) {
    for (const [name] of rows) {
      const box = document.createElement("div");
      box.append(Object.assign(document.createElement("dt"), { textContent: name }), document.createElement("dd"));
      list.append(box);
    }
  }
  rows.forEach(([, value], k) => { list.children[k].lastChild.textContent = value; });
}

function setTheme(theme) { document.documentElement.dataset.theme = theme; }

async function start({ robot: packed, mujoco: wasm, onnxruntime }) {
  const begun = performance.now();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  const robot = unpacked(packed);
  describe(robot);
  useRuntime(onnxruntime);
  const said = [];
  const mujoco = await loadMujoco({ wasmBinary: wasm, print: () => {}, printErr: (line) => said.push(line) });
  const simulation = new Simulation(mujoco, robot);
  const [sensing, marking, ...graphs] = await Promise.all(
    [robot.sensing, robot.marking, ...robot.policies.map(({ graph }) => graph)].map((text) => text && Graph.load(bytes(text))),
  );
  const policies = robot.policies.map((policy, k) => ({ ...policy, graph: graphs[k] }));
  const session = new Session(simulation, sensing, policies, robot);
  simulation.vary(session.task);
  await session.forget();
  const view = new View(by("view"), robot, simulation);

  const later = (what) => session.wanted.push(what);
  const panel = new Panel(by("task"), robot.params, session.task, (param) => {
    if (param.dynamics) simulation.vary(session.task);
    session.history.event(1);
  });
  panel.show();
  by("horizon").textContent = `${+(robot.horizon * robot.dt).toPrecision(3)} s`;
  by("bounded").firstElementChild.onchange = (event) => { session.bounded = event.target.checked; };
  by("forget").onclick = () => later(() => session.forget());
  let drawn = 0;
  by("draw").onclick = () => {
    Object.assign(session.task, structuredClone(robot.draws[drawn++ % robot.draws.length]));
    simulation.vary(session.task);
    session.history.event(1);
    panel.show();
  };
  let paused = false;
  by("pause").onclick = () => {
    paused = !paused;
    by("pause").textContent = paused ? "Go on" : "Pause";
    by("pause").setAttribute("aria-pressed", String(paused));
  };
  const repaint = () => view.paint();
  by("theme").onclick = () => { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); repaint(); };
  dark.addEventListener("change", () => { setTheme(dark.matches ? "dark" : "light"); repaint(); });
  view.controls.addEventListener("start", () => { view.moved = true; });
  by("policies").hidden = policies.length < 2;
  policies.forEach((policy) => {
    const button = Object.assign(document.createElement("button"), { title: policy.name });
    button.append(Object.assign(document.createElement("span"), { textContent: policy.name }));
    button.setAttribute("role", "radio");
    button.onclick = () => later(async () => { session.policy = policy; show(); await session.forget(); });
    by("policies").append(button);
  });
  const show = () => [...by("policies").children].forEach((button, k) => button.setAttribute("aria-checked", String(policies[k] === session.policy)));
  show();
  by("forget").hidden = !policies.some((policy) => policy.state_size);

  let last = performance.now(), budget = 0, fps = 0, graded = last, busy = false, drawnAt = 0;
  const frames = [];
  async function frame(now) {
    requestAnimationFrame(frame);
    if (busy || session.held) return;
    busy = true;
    try {
      const passed = (now - last) / 1000;
      last = now;
      frames.push(now);
      while (now - frames[0] > 1500) frames.shift();
      fps = ((frames.length - 1) * 1000) / Math.max(now - frames[0], 1);
      if (now - graded > 1500) {
        if (fps < SLOW && frames.length > 2) view.coarser();
        graded = now;
      }
      if (!paused) budget = Math.min(budget + passed, LATE + robot.timestep);
      while (budget >= robot.timestep) {
        view.note();
        await session.advance();
        budget -= robot.timestep;
      }
      if (marking) {
        const arrays = {};
        for (const name of marking.inputs) arrays[name] = simulation.read(name, session.task, session.action);
        view.mark((await marking.run(arrays)).markers);
      }
      view.draw(Math.min(1, budget / robot.timestep), session.jumped, passed);
      session.jumped = false;
      if (now - drawnAt > 90) {
        drawnAt = now;
        drawLines(by("plot"), session.history, robot.plot);
        if (robot.slots) drawAttention(by("attention"), session.history);
        numbers(session, fps);
      }
    } catch (error) {
      by("state").textContent = `It has stopped: ${error?.message ?? error}`;
      by("state").className = "failed";
      by("state").hidden = false;
      session.held = true;
      throw error;
    } finally {
      busy = false;
    }
  }
  requestAnimationFrame(frame);
  Object.assign(window.metarl, { session, simulation, view, panel, policies, mujoco, said, ready: performance.now() - begun, fps: () => fps, idle: () => !busy });
}

window.metarl = { start };
