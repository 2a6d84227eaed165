// The robot, the floor it stands on, and the marks of its task, drawn by three.
import {
  AmbientLight, BufferAttribute, BufferGeometry, BoxGeometry, CanvasTexture, CapsuleGeometry, Color, ConeGeometry,
  CylinderGeometry, DirectionalLight, Fog, Group, HemisphereLight, Line, LineBasicMaterial, Mesh,
  MeshLambertMaterial, PerspectiveCamera, PCFShadowMap, Plane, PlaneGeometry, Quaternion, Raycaster, RepeatWrapping,
  Scene, SphereGeometry, SRGBColorSpace, Vector2, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const UP = new Vector3(0, 1, 0);
const PULLEY = -2; // in MuJoCo's list of what tendons are led through
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rotation = ([w, x, y, z]) => new Quaternion(x, y, z, w);
const turned = (geometry) => geometry.rotateX(Math.PI / 2); // three's axis of a cylinder is y, MuJoCo's is z

// Whether there is no GPU.
function drawsInSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software/i.test(name);
}

export class View {
  constructor(canvas, robot, simulation) {
    this.canvas = canvas;
    this.robot = robot;
    this.simulation = simulation;
    const software = drawsInSoftware();
    this.renderer = new WebGLRenderer({ canvas, antialias: !software, powerPreference: "high-performance" });
    const fine = Math.min(window.devicePixelRatio, 2);
    this.ratios = [fine, 1, 0.75, 0.5].filter((ratio, k) => k === 0 || ratio < fine); // from fine to coarse
    this.renderer.setPixelRatio(this.ratios[0]);
    this.renderer.shadowMap.enabled = true;
    this.shadowSize = software ? 512 : 2048;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(40, 1, 0.01 * robot.view.distance, 60 * robot.view.distance);
    this.camera.up.set(0, 0, 1);
    this.centre = new Vector3(...(robot.view.lookat ?? [0, 0, 0]));
    this.addLights();
    this.addFloor();
    this.bodies = this.addRobot();
    this.poses = { xpos: [], xquat: [] };
    this.addTendons();
    this.addMarkers();
    this.look();
    this.addPulling();
    this.paint();
    this.resize();
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  addLights() {
    this.scene.add(new HemisphereLight(0xffffff, 0xb8bec8, 1.7), new AmbientLight(0xffffff, 0.35));
    const sun = new DirectionalLight(0xffffff, 2.1);
    const reach = this.robot.view.reach;
    sun.castShadow = true;
    sun.shadow.mapSize.set(this.shadowSize, this.shadowSize);
    Object.assign(sun.shadow.camera, { left: -reach, right: reach, top: reach, bottom: -reach, near: 0.02 * reach, far: 8 * reach });
    sun.shadow.bias = -0.0006;
    sun.shadow.normalBias = 0.01 * reach;
    sun.shadow.radius = 3;
    this.sun = sun;
    this.scene.add(sun, sun.target);
  }

  addFloor() {
    const { floor, view } = this.robot;
    this.tile = view.tile;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    this.checks = new CanvasTexture(canvas);
    this.checks.wrapS = this.checks.wrapT = RepeatWrapping;
    this.checks.colorSpace = SRGBColorSpace;
    this.checks.anisotropy = 8;
    const tiles = 2 * Math.ceil((20 * view.distance) / this.tile / 2);
    this.checks.repeat.set(tiles / 2, tiles / 2);
    this.floor = new Mesh(new PlaneGeometry(tiles * this.tile, tiles * this.tile), new MeshLambertMaterial({ map: this.checks }));
    this.floor.receiveShadow = true;
    this.ground = { at: new Vector3(...floor.pos), turn: rotation(floor.quat) };
    this.floor.position.copy(this.ground.at);
    this.floor.quaternion.copy(this.ground.turn);
    this.scene.add(this.floor);
  }

  addRobot() {
    const bodies = new Map();
    for (const geom of this.robot.geoms) {
      if (!bodies.has(geom.body)) {
        const group = new Group();
        group.userData.body = geom.body;
        bodies.set(geom.body, group);
        this.scene.add(group);
      }
      const [r, g, b, opacity] = geom.rgba;
      const material = new MeshLambertMaterial({ color: new Color().setRGB(r, g, b, SRGBColorSpace), opacity, transparent: opacity < 1 });
      const mesh = new Mesh(this.shape(geom), material);
      mesh.position.set(...geom.pos);
      mesh.quaternion.copy(rotation(geom.quat));
      if (geom.type === "ellipsoid") mesh.scale.set(...geom.size);
      mesh.castShadow = opacity === 1;
      mesh.receiveShadow = true;
      bodies.get(geom.body).add(mesh);
    }
    return bodies;
  }

  shape({ type, size, mesh }) {
    const [a, b, c] = size;
    const far = 20 * this.robot.view.distance; // where a plane has no end
    if (type === "plane") return new PlaneGeometry(2 * (a || far), 2 * (b || far));
    if (type === "box") return new BoxGeometry(2 * a, 2 * b, 2 * c);
    if (type === "cylinder") return turned(new CylinderGeometry(a, a, 2 * b, 40));
    if (type === "capsule") return turned(new CapsuleGeometry(a, 2 * b, 10, 28));
    if (type === "sphere") return new SphereGeometry(a, 36, 24);
    if (type === "ellipsoid") return new SphereGeometry(1, 36, 24);
    const geometry = new BufferGeometry();
    const { model } = this.simulation;
    const first = model.mesh_vertadr[mesh], count = model.mesh_vertnum[mesh];
    const face = model.mesh_faceadr[mesh], faces = model.mesh_facenum[mesh];
    const vertices = model.mesh_vert.slice(3 * first, 3 * (first + count));
    const corners = model.mesh_face.slice(3 * face, 3 * (face + faces));
    // Flat faces: corners of their own.
    geometry.setAttribute("position", new BufferAttribute(Float32Array.from([...corners].flatMap((v) => [...vertices.slice(3 * v, 3 * v + 3)])), 3));
    geometry.computeVertexNormals();
    return geometry;
  }

  // As MuJoCo draws them: a rod from each point that a tendon is led through to the next.
  addTendons() {
    const rod = new CylinderGeometry(1, 1, 1, 12);
    this.tendons = this.robot.tendons.map(({ tendon, width, rgba: [r, g, b, opacity] }) => {
      const material = new MeshLambertMaterial({ color: new Color().setRGB(r, g, b, SRGBColorSpace), opacity, transparent: opacity < 1 });
      const group = new Group();
      this.scene.add(group);
      return { tendon, width, group, rod: () => Object.assign(new Mesh(rod, material), { castShadow: true }) };
    });
  }

  drawTendons() {
    if (!this.tendons.length) return;
    const { ten_wrapadr: first, ten_wrapnum: count, wrap_obj: kind, wrap_xpos: at } = this.simulation.data;
    for (const { tendon, width, group, rod } of this.tendons) {
      const n = Math.max(0, count[tendon] - 1);
      while (group.children.length < n) group.add(rod());
      group.children.forEach((mesh, k) => {
        const i = first[tendon] + k;
        mesh.visible = k < n && kind[i] !== PULLEY && kind[i + 1] !== PULLEY;
        if (!mesh.visible) return;
        const from = new Vector3(at[3 * i], at[3 * i + 1], at[3 * i + 2]), to = new Vector3(at[3 * i + 3], at[3 * i + 4], at[3 * i + 5]);
        const along = to.clone().sub(from), length = along.length();
        mesh.position.copy(from).add(to).multiplyScalar(0.5);
        mesh.scale.set(width, Math.max(length, 1e-6), width);
        if (length > 1e-6) mesh.quaternion.setFromUnitVectors(UP, along.divideScalar(length));
      });
    }
  }

  addMarkers() {
    this.markers = this.robot.markers.map(({ kind, colour }) => {
      const [r, g, b, opacity] = colour;
      const material = new MeshLambertMaterial({ color: new Color().setRGB(r, g, b, SRGBColorSpace), opacity, transparent: true });
      material.emissive.copy(material.color).multiplyScalar(0.35);
      const group = new Group();
      if (kind === "arrow") {
        group.add(new Mesh(new CylinderGeometry(1, 1, 1, 24), material), new Mesh(new ConeGeometry(1, 1, 28), material));
      } else {
        const unit = { sphere: new SphereGeometry(1, 32, 20), cylinder: turned(new CylinderGeometry(1, 1, 2, 40)), box: new BoxGeometry(2, 2, 2) }[kind];
        group.add(new Mesh(unit, material));
      }
      this.scene.add(group);
      return { kind, group };
    });
  }

  // Rows of place, size and tip, as the family's graph gives them.
  mark(rows) {
    this.markers.forEach(({ kind, group }, i) => {
      const row = rows.subarray(9 * i, 9 * i + 9);
      const [x, y, z, a, b, c] = row;
      group.visible = a > 0;
      group.position.set(x, y, z);
      if (kind === "sphere") group.scale.setScalar(Math.max(a, 1e-6));
      else if (kind === "cylinder") group.scale.set(a, a, Math.max(b, 1e-4));
      else if (kind === "box") group.scale.set(a, b, c);
      else this.point(group, new Vector3(row[6] - x, row[7] - y, row[8] - z), a);
    });
  }

  point(arrow, along, width) {
    const length = along.length();
    arrow.visible = length > 1e-3 * Math.min(1, this.robot.view.distance);
    if (!arrow.visible) return;
    const head = Math.min(6 * width, length), shaft = Math.max(length - head, 1e-4);
    arrow.quaternion.setFromUnitVectors(UP, along.normalize());
    arrow.children[0].scale.set(width, shaft, width);
    arrow.children[0].position.set(0, shaft / 2, 0);
    arrow.children[1].scale.set(2.2 * width, head, 2.2 * width);
    arrow.children[1].position.set(0, length - head / 2, 0);
  }

  // From where to look: as the family says, or the robot's file.
  look() {
    const { view } = this.robot;
    const azimuth = (view.azimuth * Math.PI) / 180, elevation = (Math.max(view.elevation, -75) * Math.PI) / 180;
    this.ahead = new Vector3(Math.cos(elevation) * Math.cos(azimuth), Math.cos(elevation) * Math.sin(azimuth), Math.sin(elevation));
    this.controls = new OrbitControls(this.camera, this.canvas);
    Object.assign(this.controls, {
      enableDamping: true, dampingFactor: 0.12, enablePan: false, maxPolarAngle: 0.495 * Math.PI,
      minDistance: 0.2 * view.distance, maxDistance: 6 * view.distance,
    });
    if (!view.lookat) this.centre.copy(this.rootPosition());
    this.pace = new Vector3();
    this.lastRoot = this.centre.clone();
    this.controls.target.copy(this.centre);
    this.placed = false;
  }

  rootPosition() {
    const { root, view } = this.robot;
    const x = this.simulation.data.xipos;
    return new Vector3(x[3 * root] + view.beside[0], x[3 * root + 1] + view.beside[1], view.height);
  }

  place() {
    const narrow = Math.max(1, 1.15 / this.camera.aspect);
    this.camera.position.copy(this.controls.target).addScaledVector(this.ahead, -this.robot.view.distance * narrow);
    this.placed = true;
  }

  addPulling() {
    const ray = new Raycaster(), at = new Vector2(), plane = new Plane(), target = new Vector3();
    const aim = (event) => {
      const box = this.canvas.getBoundingClientRect();
      at.set(((event.clientX - box.left) / box.width) * 2 - 1, 1 - ((event.clientY - box.top) / box.height) * 2);
      ray.setFromCamera(at, this.camera);
    };
    this.rope = new Line(new BufferGeometry().setAttribute("position", new BufferAttribute(new Float32Array(6), 3)), new LineBasicMaterial());
    this.rope.visible = this.rope.frustumCulled = false;
    this.scene.add(this.rope);
    this.canvas.addEventListener("pointerdown", (event) => {
      aim(event);
      const movable = [...this.bodies].filter(([body]) => this.robot.pulls[body]).map(([, group]) => group);
      const [hit] = ray.intersectObjects(movable, true);
      if (!hit) return;
      this.controls.enabled = false;
      this.canvas.setPointerCapture(event.pointerId);
      this.canvas.classList.add("pulling");
      const group = hit.object.parent;
      const local = group.worldToLocal(hit.point.clone());
      plane.setFromNormalAndCoplanarPoint(this.camera.getWorldDirection(new Vector3()).negate(), hit.point);
      this.simulation.pull = { body: group.userData.body, local: local.toArray(), target: hit.point.toArray() };
      this.rope.visible = true;
    }, { capture: true });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.simulation.pull) return;
      aim(event);
      plane.constant = -plane.normal.dot(new Vector3(...this.simulation.pointOf(this.simulation.pull.body, this.simulation.pull.local)));
      if (ray.ray.intersectPlane(plane, target)) this.simulation.pull.target = target.toArray();
    });
    const end = () => {
      if (!this.simulation.pull) return;
      this.simulation.pull = null;
      this.simulation.data.xfrc_applied.fill(0);
      this.rope.visible = false;
      this.controls.enabled = true;
      this.canvas.classList.remove("pulling");
    };
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, end);
  }

  // Fewer pixels where frames come too slowly.
  coarser() {
    if (this.ratios.length < 2) return;
    this.ratios.shift();
    this.renderer.setPixelRatio(this.ratios[0]);
    this.resize();
  }

  // Colours of the page.
  paint() {
    const canvas = this.checks.image, pen = canvas.getContext("2d");
    pen.fillStyle = css("--floor-a");
    pen.fillRect(0, 0, 64, 64);
    pen.fillStyle = css("--floor-b");
    pen.fillRect(0, 0, 32, 32);
    pen.fillRect(32, 32, 32, 32);
    this.checks.needsUpdate = true;
    this.scene.background = new Color(css("--sky"));
    const { distance } = this.robot.view;
    this.scene.fog = new Fog(this.scene.background, 2.2 * distance, 8 * distance);
    this.rope.material.color.set(css("--harm"));
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    if (!this.moved) this.place();
  }

  // Remember where bodies are, for what is drawn between two substeps.
  note() {
    const { data } = this.simulation;
    this.poses = { xpos: Float64Array.from(data.xpos), xquat: Float64Array.from(data.xquat) };
  }

  draw(part, jumped, passed) {
    const { data } = this.simulation;
    const x = data.xpos, q = data.xquat, before = this.poses;
    const [a, b] = [new Quaternion(), new Quaternion()];
    const mix = before.xpos.length && !jumped ? part : 1;
    for (const [body, group] of this.bodies) {
      const k = 3 * body, j = 4 * body;
      b.set(q[j + 1], q[j + 2], q[j + 3], q[j]);
      if (mix < 1) {
        group.position.set(...[0, 1, 2].map((i) => before.xpos[k + i] + mix * (x[k + i] - before.xpos[k + i])));
        a.set(before.xquat[j + 1], before.xquat[j + 2], before.xquat[j + 3], before.xquat[j]);
        group.quaternion.slerpQuaternions(a, b, mix);
      } else {
        group.position.set(x[k], x[k + 1], x[k + 2]);
        group.quaternion.copy(b);
      }
    }
    this.drawTendons();
    this.followRobot(jumped, passed);
    if (this.simulation.pull) this.drawRope();
    this.controls.update();
    this.renderer.render(this.scene, this.camera);
  }

  followRobot(jumped, passed) {
    const { view } = this.robot;
    if (!view.lookat) {
      const root = this.rootPosition(), shift = root.clone().sub(this.controls.target);
      if (jumped || shift.length() > 4 * view.distance) {
        this.pace.set(0, 0, 0);
      } else {
        // As fast as the robot lately, and slowly to where it is: neither behind it nor shaken by it.
        const pace = root.clone().sub(this.lastRoot).divideScalar(Math.max(passed, 1e-3));
        this.pace.lerp(pace, 1 - Math.exp(-4 * passed));
        const ahead = this.pace.clone().multiplyScalar(passed);
        shift.sub(ahead).multiplyScalar(1 - Math.exp(-5 * passed)).add(ahead);
      }
      this.lastRoot.copy(root);
      this.controls.target.add(shift);
      this.camera.position.add(shift);
    }
    const { target } = this.controls;
    const { at, turn } = this.ground, step = 2 * this.tile;
    const below = target.clone().sub(at).applyQuaternion(turn.clone().invert()).setZ(0);
    const tile = new Vector3(Math.round(below.x / step) * step, Math.round(below.y / step) * step, 0);
    this.floor.position.copy(tile.applyQuaternion(turn).add(at));
    this.sun.target.position.copy(below.applyQuaternion(turn).add(at));
    this.sun.position.copy(this.sun.target.position).add(new Vector3(-0.9, -1.2, 3).multiplyScalar(view.reach));
  }

  drawRope() {
    const { body, local, target } = this.simulation.pull;
    const ends = this.rope.geometry.attributes.position;
    ends.set([...this.simulation.pointOf(body, local), ...target]);
    ends.needsUpdate = true;
  }
}
