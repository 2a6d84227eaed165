// One robot in MuJoCo, stepped as metarl's BatchSim steps it.

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
    this.data = new mujoco.MjData(this.model);
    this.scratch = new mujoco.MjData(this.model);
    this.before = {};
    this.elapsed = 0;
    this.pull = null;
  }

  // Give the robot the dynamics of a task: numbers by parameter.
  vary(task) {
    const { variations } = this.robot;
    if (!variations.length) return;
    for (const v of variations) {
      const numbers = task[v.param];
      const field = this.model[v.field];
      const value = v.index.map((_, k) => {
        const x = numbers[numbers.length > 1 ? k : 0];
        return v.mode === "set" ? x : v.mode === "scale" ? v.nominal[k] * x : v.nominal[k] + x;
      });
      v.index.forEach((place, k) => { field[place] = value[k]; });
      for (const f of v.follows) {
        const along = this.model[f.field];
        const ratio = f.base === 0 ? 1 : value[f.lead] / f.base;
        f.index.forEach((place, k) => { along[place] = f.nominal[k] * ratio; });
      }
    }
    this.mujoco.mj_setConst(this.model, this.scratch);
  }

  // Begin an episode.
  reset(qpos, qvel) {
    this.mujoco.mj_resetData(this.model, this.data);
    this.data.qpos.set(qpos);
    this.data.qvel.set(qvel);
    this.elapsed = 0;
    this.follow();
    this.remember();
  }

  // What lags behind the state by a substep.
  follow() {
    const { mujoco, model, data } = this;
    if (this.robot.derived.length) {
      mujoco.mj_fwdPosition(model, data);
      mujoco.mj_fwdVelocity(model, data);
    } else {
      mujoco.mj_kinematics(model, data);
      mujoco.mj_comPos(model, data);
    }
  }

  remember() {
    for (const name of ["qpos", ...this.robot.remembered]) this.before[name] = Float64Array.from(this.data[name]);
  }

  // The first of a step's substeps.
  act(action) {
    const { middle, scale } = this.robot.action;
    const ctrl = this.data.ctrl;
    this.remember();
    for (let i = 0; i < ctrl.length; i++) ctrl[i] = middle[i] + scale[i] * Math.min(1, Math.max(-1, action[i]));
  }

  substep() {
    if (this.pull) this.applyPull();
    this.mujoco.mj_step(this.model, this.data);
  }

  // After the last substep of a step.
  finish() {
    if (this.pull) this.data.xfrc_applied.fill(0);
    this.follow();
    this.elapsed += 1;
  }

  // A spring from a point of a body to a place in the world; as strong as the robot is heavy.
  applyPull() {
    const { body, local, target } = this.pull;
    const { data } = this;
    const at = this.pointOf(body, local);
    const force = data.xfrc_applied;
    force.fill(0);
    const velocity = data.cvel;
    const scale = this.robot.mass;
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

  // An input of a graph: a copy, as the arrays are views of memory that goes on changing.
  read(name, task, action) {
    if (name === "action") return Float64Array.from(action);
    if (name === "time") return Float64Array.of(this.data.time);
    if (name.startsWith("task.")) return Float64Array.from(task[name.slice(5)]);
    if (name.startsWith("before.")) return Float64Array.from(this.before[name.slice(7)]);
    return Float64Array.from(this.data[name]);
  }

  get broken() {
    return !this.data.qpos.every(Number.isFinite) || !this.data.qvel.every(Number.isFinite);
  }
}
