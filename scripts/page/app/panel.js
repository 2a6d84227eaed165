// A slider for every number of the task.

export const shown = (x) => {
  const digits = Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? 1 : 2;
  return x.toFixed(digits).replace("-", "−");
};

// A number of a parameter; one that is whole has no digits behind the point.
const said = (x, whole) => (whole ? String(x).replace("-", "−") : shown(x));

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

export class Panel {
  constructor(place, params, task, changed) {
    this.rows = [];
    for (const param of params) {
      const rows = task[param.name].map((_, i) => this.row(param, i, task, changed));
      if (rows.length === 1) place.append(rows[0]);
      else {
        const inside = element("div", { className: "rows" }, ...rows);
        const summary = element("summary", {}, `${param.words} `, element("small", {}, `${rows.length} numbers`));
        place.append(element("details", { open: rows.length <= 8 }, summary, inside));
      }
    }
  }

  row(param, i, task, changed) {
    const many = task[param.name].length > 1;
    const words = many ? param.labels[i] : param.words;
    const value = element("output");
    const id = `${param.name}-${i}`;
    const box = element("div", { className: "row" }, element("label", { htmlFor: id, textContent: words }), value);
    const set = (x) => { task[param.name][i] = x; changed(param); this.show(); };
    const tell = () => {
      value.replaceChildren(param.sign === "*" ? "×\u2009" : "", element("b", { textContent: (param.sign === "+" && task[param.name][i] > 0 ? "+" : "") + said(task[param.name][i], param.whole) }), param.unit ? `\u2009${param.unit}` : "");
    };
    if (param.choices) {
      const buttons = param.choices.map((x) => element("button", { textContent: said(x, param.whole), onclick: () => set(x) }));
      buttons.forEach((button) => button.setAttribute("role", "radio"));
      box.append(element("div", { className: "choices", role: "radiogroup" }, ...buttons));
      this.rows.push(() => {
        tell();
        buttons.forEach((button, k) => button.setAttribute("aria-checked", String(param.choices[k] === task[param.name][i])));
      });
      return box;
    }
    const to = param.log ? Math.log : (x) => x, from = param.log ? Math.exp : (x) => x;
    const low = to(param.low), high = to(param.high), place = (x) => (high > low ? (to(x) - low) / (high - low) : 0);
    const input = element("input", { type: "range", id, min: "0", max: "1000", step: "1" });
    input.setAttribute("data-param", param.name);
    input.addEventListener("input", () => {
      const x = from(low + (Number(input.value) / 1000) * (high - low));
      set(Math.min(param.high, Math.max(param.low, param.whole ? Math.round(x) : Number(x.toPrecision(4)))));
    });
    const trained = param.trained.map(([a, b]) => {
      const span = element("span");
      span.style.left = `${100 * place(a)}%`;
      span.style.width = `${Math.max(1, 100 * (place(b) - place(a)))}%`;
      return span;
    });
    const track = element("i", { title: "grey: what was trained on" }, ...trained);
    box.append(element("div", { className: "slide" }, track, input));
    if (!many) box.append(element("div", { className: "range" }, element("span", { textContent: said(param.low, param.whole) }), element("span", { textContent: said(param.high, param.whole) })));
    this.rows.push(() => {
      tell();
      input.value = String(Math.round(1000 * place(task[param.name][i])));
      input.setAttribute("aria-valuetext", `${said(task[param.name][i], param.whole)} ${param.unit}`);
    });
    return box;
  }

  show() { this.rows.forEach((show) => show()); }
}
