// A slider for every number of the task.

// A number with as many digits as one reads; of a small quantity, which is at most so large, some more.
export const shown = (x, most = 1) => {
  const small = most > 0 && most < 0.1 ? 1 - Math.floor(Math.log10(most)) : 2;
  const digits = Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? 1 : small;
  return (Math.abs(x) >= 1e6 ? short(x) : x.toFixed(digits)).replace("-", "−");
};

export const short = (x) => {
  if (x !== 0 && Math.abs(x) < 1e-4) return x.toExponential(1).replace(".0", "");
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3, useGrouping: false }).format(x);
};

// A number of a parameter; one that is whole has no digits behind the point.
const said = (x, { whole, low, high }) => (whole ? String(x).replace("-", "−") : shown(x, Math.max(Math.abs(low), Math.abs(high))));

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
      value.replaceChildren(param.sign === "*" ? "×\u2009" : "", element("b", { textContent: (param.sign === "+" && task[param.name][i] > 0 ? "+" : "") + said(task[param.name][i], param) }), param.unit ? `\u2009${param.unit}` : "");
    };
    if (param.choices) {
      const buttons = param.choices.map((x) => element("button", { textContent: said(x, param), onclick: () => set(x) }));
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
    if (!many) box.append(element("div", { className: "range" }, element("span", { textContent: said(param.low, param) }), element("span", { textContent: said(param.high, param) })));
    this.rows.push(() => {
      tell();
      input.value = String(Math.round(1000 * place(task[param.name][i])));
      input.setAttribute("aria-valuetext", `${said(task[param.name][i], param)} ${param.unit}`);
    });
    return box;
  }

  show() { this.rows.forEach((show) => show()); }
}
