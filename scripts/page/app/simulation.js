// One robot in MuJoCo, stepped as metarl's BatchSim steps it.
import { eigen, matrix, quaternion } from "./turning.js";

export class Simulation {
  constructor(mujoco, robot) {
    this.mujoco = mujoco;
    this.robot = robot;
    const files = new mujoco.MjVFS();
    for (const [name, bytes] of Object.entries(robot.files)) files.addBuffer(name, bytes);
    this.model = mujoco.MjModel.from_xml_string(robot.xml, files);
    for (const [name, count] of Object.entries(robot.sizes)) {
      if (this.model[name] !== count) {
        throw new Error(`MuJoCo ${mujoco.mj_versionString()} reads this robot differently: ${name} is ${this.model[name]}, not ${count}`);
      }
    }
    for (const [name, values] of Object.entries(robot.fields)) {
      // What this MuJoCo does not export must not be touched.
      if (name in this.model && this.model[name]?.length === values.length) this.model[name].set(values);
    }
    for (const [name, values] of Object.entries(robot.options)) {
      if (!(name in this.model.opt)) continue;
      if (typeof this.model.opt[name] === "number") [this.model.opt[name]] = values;
      else this.model.opt[name].set(values);
    }
    this.model.stat.meaninertia = robot.meaninertia;
    this.data = new mujoco.MjData(this.model);
    this.scratch = new mujoco.MjData(this.model);
    this.before = {};
    this.delay = new Float64Array(this.model.nu);
    this.elapsed = 0;
    this.pull = null;
  }

  // A field of the model by its name; controls are late by what this simulation keeps itself.
  field(name) {
    if (name === "actuator_delay") return this.delay;
    return name.startsWith("opt.") ? this.model.opt[name.slice(4)] : this.model[name];
  }

  // Give the robot the dynamics of a task: numbers by parameter.
  vary(task) {
    const { nominal, variations, loads } = this.robot;
    if (!variations.length) return;
    for (const [name, values] of Object.entries(nominal)) this.field(name).set(values);
    for (const { param, mode, targets, follows } of variations) {
      const numbers = task[param];
      let ratios;
      for (const { field, index, number } of targets) {
        const values = this.field(field);
        ratios = index.map((place, k) => {
          const x = numbers[number[k]], before = values[place];
          values[place] = mode === "set" ? x : mode === "scale" ? before * x : before + x;
          return before === 0 ? 1 : values[place] / before;
        });
      }
      if (!follows) continue;
      const along = this.field(follows.field);
      follows.rows.forEach((row, k) => {
        for (let i = 0; i < follows.width; i++) along[row * follows.width + i] *= ratios[follows.leads[k]];
      });
    }
    for (const { body, parts } of loads) {
      const load = [0, 0, 0, 0];
      for (const { param, number, column } of parts) load[column] += task[param][number];
      this.carry(body, load);
    }
    this.mujoco.mj_setConst(this.model, this.scratch);
  }

  // Put a point of mass on a body, at a place from its centre of mass (see metarl.envs.variation.add_payloads).
  carry(body, [mass, ...offset]) {
    const { body_mass: masses, body_ipos: centres, body_inertia: inertias, body_iquat: turns } = this.model;
    const own = masses[body], share = own + mass > 0 ? mass / (own + mass) : 0;
    masses[body] = own + mass;
    offset.forEach((x, k) => { centres[3 * body + k] += share * x; });
    if (mass === 0 || offset.every((x) => x === 0)) return;
    const turn = matrix(turns.slice(4 * body, 4 * body + 4)), square = offset.reduce((sum, x) => sum + x * x, 0);
    const inertia = turn.map((row, i) => turn.map((other, j) => {
      const turned = [0, 1, 2].reduce((sum, k) => sum + row[k] * inertias[3 * body + k] * other[k], 0);
      return turned + own * share * ((i === j ? square : 0) - offset[i] * offset[j]);
    }));
    const [principal, axes] = eigen(inertia);
    inertias.set(principal, 3 * body);
    turns.set(quaternion(axes), 4 * body);
  }

  // Begin an episode.
  reset(qpos, qvel) {
    this.mujoco.mj_resetData(this.model, this.data);
    this.data.qpos.set(qpos);
    this.data.qvel.set(qvel);
    this.control = Float64Array.from(this.robot.action.middle);
    this.controls = [];
    this.action = this.before.action = new Float64Array(this.control.length);
    this.elapsed = 0;
    this.follow();
    this.remember();
  }

  // What lags behind the state by a substep.
  follow() {
    const { mujoco, model, data } = this;
    if (this.robot.derived.length) {
      mujoco.mj_fwdPosition(model, data);
      mujoco.mj_sensorPos(model, data);
      mujoco.mj_fwdVelocity(model, data);
      mujoco.mj_sensorVel(model, data);
    } else {
      mujoco.mj_kinematics(model, data);
      mujoco.mj_comPos(model, data);
    }
  }

  remember() {
    for (const name of ["qpos", ...this.robot.remembered]) this.before[name] = this.now(name);
  }

  // The first of a step's substeps.
  act(action) {
    const { middle, scale, low, high, adds } = this.robot.action;
    this.remember();
    this.before.action = this.action;
    this.action = Float64Array.from(action, (a) => Math.min(1, Math.max(-1, a)));
    this.control = this.control.map((before, i) => {
      const by = scale[i] * this.action[i];
      return adds ? Math.min(high[i], Math.max(low[i], before + by)) : middle[i] + by;
    });
  }

  // Controls of as long ago as each actuator is late; those that an episode begins with, before it has begun.
  sendControls() {
    const { middle } = this.robot.action, { timestep } = this.robot;
    this.controls.unshift(this.control);
    const latest = Math.max(0, ...this.delay);
    this.controls.length = Math.min(this.controls.length, Math.ceil(latest / timestep) + 2);
    this.delay.forEach((late, i) => {
      const steps = Math.ceil(late / timestep - 1e-6);
      this.data.ctrl[i] = (this.controls[steps] ?? middle)[i];
    });
  }

  substep() {
    this.sendControls();
    if (this.pull) this.applyPull();
    this.mujoco.mj_step(this.model, this.data);
  }

  // After the last substep of a step.
  finish() {
    if (this.pull) this.data.xfrc_applied.fill(0);
    this.follow();
    this.elapsed += 1;
  }

  // A spring from a point of a body to a place in the world; as strong as what is pulled at is heavy.
  applyPull() {
    const { body, local, target } = this.pull;
    const { data } = this;
    const at = this.pointOf(body, local);
    const force = data.xfrc_applied;
    force.fill(0);
    const velocity = data.cvel;
    const scale = this.robot.pulls[body];
    const pulled = target.map((x, k) => scale * (60 * (x - at[k]) - 4 * velocity[6 * body + 3 + k]));
    const size = Math.hypot(...pulled), most = 50 * scale;
    const f = size > most ? pulled.map((x) => (x * most) / size) : pulled;
    const centre = data.xipos;
    const r = at.map((x, k) => x - centre[3 * body + k]);
    const torque = [r[1] * f[2] - r[2] * f[1], r[2] * f[0] - r[0] * f[2], r[0] * f[1] - r[1] * f[0]];
    force.set([...f, ...torque], 6 * body);
  }

  pointOf(body, local) {
    const x = this.data.xpos, m = this.data.xmat;
    return [0, 1, 2].map((k) => x[3 * body + k]
      + m[9 * body + 3 * k] * local[0] + m[9 * body + 3 * k + 1] * local[1] + m[9 * body + 3 * k + 2] * local[2]);
  }

  now(name) {
    const value = this.data[name];
    return typeof value === "number" ? Float64Array.of(value) : Float64Array.from(value);
  }

  // An input of a graph: a copy, as the arrays are views of memory that goes on changing.
  read(name, task, action) {
    if (name === "action") return Float64Array.from(action);
    if (name.startsWith("task.")) return Float64Array.from(task[name.slice(5)]);
    if (name.startsWith("before.")) return Float64Array.from(this.before[name.slice(7)]);
    return this.now(name);
  }

  get broken() {
    return !this.data.qpos.every(Number.isFinite) || !this.data.qvel.every(Number.isFinite);
  }
}
