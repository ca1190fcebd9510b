// Figures that answer: the forward pass of a network, and what is dragged, drawn and read out.
(() => {
  "use strict";
  if (window.aebookLive) return window.aebookLive.scan();

  // --- a network ------------------------------------------------------------------------------

  const ACTIVATIONS = {
    relu: () => (a) => Math.max(0, a),
    sigmoid: () => (a) => 1 / (1 + Math.exp(-a)),
    tanh: () => Math.tanh,
    leaky: (slope) => (a) => (a > 0 ? a : slope * a),
    elu: (alpha) => (a) => (a > 0 ? a : alpha * Math.expm1(a)),
    silu: () => (a) => a / (1 + Math.exp(-a)),
    softplus: (beta, threshold) => (a) =>
      beta * a > threshold ? a : Math.log1p(Math.exp(beta * a)) / beta,
    step: () => (a) => (a > 0 ? 1 : 0),
  };

  function floats(buffer, begin, count) {
    return new Float32Array(buffer, begin, count);
  }

  // Each step becomes a function from an array to an array.
  const STEPS = {
    linear(step, buffer) {
      const { inputs, outputs } = step;
      const weights = new Int8Array(buffer, step.weights, inputs * outputs);
      const scale = floats(buffer, step.scale, outputs);
      const bias = floats(buffer, step.bias, outputs);
      return (x) => {
        const y = new Float32Array((x.length / inputs) * outputs);
        for (let at = 0; at < y.length; at += outputs) {
          const from = (at / outputs) * inputs;
          for (let j = 0, w = 0; j < outputs; j++) {
            let sum = 0;
            for (let i = 0; i < inputs; i++, w++) sum += weights[w] * x[from + i];
            y[at + j] = scale[j] * sum + bias[j];
          }
        }
        return y;
      };
    },

    affine(step, buffer) {
      const { channels } = step;
      const factor = floats(buffer, step.factor, channels);
      const offset = floats(buffer, step.offset, channels);
      return (x) => {
        const each = x.length / channels;
        return x.map((a, i) => a * factor[Math.floor(i / each)] + offset[Math.floor(i / each)]);
      };
    },

    conv(step, buffer) {
      const [C, H, W] = step.from, [D, P, Q] = step.to, [kh, kw] = step.size;
      const { weights, scale, bias } = kernel(step, buffer, D, C * kh * kw);
      return (x) => {
        const y = new Float32Array(D * P * Q);
        for (let d = 0; d < D; d++) for (let p = 0; p < P; p++) for (let q = 0; q < Q; q++) {
          let sum = 0;
          const top = p * step.stride[0] - step.padding[0];
          const left = q * step.stride[1] - step.padding[1];
          for (let c = 0; c < C; c++) for (let u = 0; u < kh; u++) {
            const row = top + u;
            if (row < 0 || row >= H) continue;
            for (let v = 0; v < kw; v++) {
              const column = left + v;
              if (column < 0 || column >= W) continue;
              sum += weights[((d * C + c) * kh + u) * kw + v] * x[(c * H + row) * W + column];
            }
          }
          y[(d * P + p) * Q + q] = scale[d] * sum + bias[d];
        }
        return y;
      };
    },

    unconv(step, buffer) {
      const [C, H, W] = step.from, [D, P, Q] = step.to, [kh, kw] = step.size;
      const { weights, scale, bias } = kernel(step, buffer, D, C * kh * kw);
      return (x) => {
        const y = new Float32Array(D * P * Q);
        for (let d = 0; d < D; d++) {
          for (let c = 0; c < C; c++) for (let h = 0; h < H; h++) for (let w = 0; w < W; w++) {
            const value = x[(c * H + h) * W + w];
            if (value === 0) continue;
            for (let u = 0; u < kh; u++) {
              const row = h * step.stride[0] - step.padding[0] + u;
              if (row < 0 || row >= P) continue;
              for (let v = 0; v < kw; v++) {
                const column = w * step.stride[1] - step.padding[1] + v;
                if (column < 0 || column >= Q) continue;
                y[(d * P + row) * Q + column] += weights[((d * C + c) * kh + u) * kw + v] * value;
              }
            }
          }
          for (let i = d * P * Q; i < (d + 1) * P * Q; i++) y[i] = scale[d] * y[i] + bias[d];
        }
        return y;
      };
    },

    top(step) {
      return (x) => {
        const size = step.by === "magnitude" ? x.map(Math.abs) : x;
        const order = Array.from(x.keys()).sort((a, b) => size[b] - size[a] || a - b);
        const y = new Float32Array(x.length);
        for (const i of order.slice(0, step.k)) y[i] = x[i];
        return y;
      };
    },

    first(step) {
      return (x) => x.slice(0, step.count);
    },
  };

  function kernel(step, buffer, outputs, inputs) {
    return {
      weights: new Int8Array(buffer, step.weights, outputs * inputs),
      scale: floats(buffer, step.scale, outputs),
      bias: floats(buffer, step.bias, outputs),
    };
  }

  function network(steps, buffer) {
    const functions = steps.map((step) => {
      if (STEPS[step.kind]) return STEPS[step.kind](step, buffer);
      const bend = ACTIVATIONS[step.kind](...step.settings);
      return (x) => Float32Array.from(x, bend);
    });
    return (x) => functions.reduce((h, f) => f(h), Float32Array.from(x));
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  }

  // --- what is seen ---------------------------------------------------------------------------

  function element(parent, tag, attributes = {}, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  // One colour a pixel, each a number in [0, 1], on a canvas of as many pixels.
  function colour(canvas, [, height, width], pixel) {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      pixel(i).forEach((value, c) => { image.data[4 * i + c] = 255 * Math.min(1, Math.max(0, value)); });
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // An image, (H, W) or (3, H, W) in [0, 1]; a grey one dark on light.
  function paint(canvas, values, shape) {
    const [channels, height, width] = shape, size = height * width;
    colour(canvas, shape, (i) => [0, 1, 2].map((c) => (channels === 3 ? values[c * size + i] : 1 - values[i])));
  }

  // What an image has more than another in blue, what it has less in red, on white.
  const LOST = [192, 33, 46], ADDED = [47, 134, 166];
  function compare(canvas, values, others, shape) {
    const [channels, height, width] = shape, size = height * width;
    colour(canvas, shape, (i) => {
      let more = 0;
      for (let c = 0; c < channels; c++) more += (values[c * size + i] - others[c * size + i]) / channels;
      return (more > 0 ? ADDED : LOST).map((ink) => 1 - Math.min(1, Math.abs(more)) * (1 - ink / 255));
    });
  }

  function panel(parent, title, label, name = "") {
    const figure = element(parent, "div", { class: `panel ${name}` });
    element(figure, "div", { class: "title" }, title);
    return element(figure, "canvas", { role: "img", "aria-label": label });
  }

  function legend(parent, names, colours) {
    const list = element(parent, "ul", { class: "legend" });
    names.forEach((name, i) => {
      element(list, "li", {}, name).style.setProperty("--mark", colours[i % colours.length]);
    });
  }

  const round = (a) => Number(a.toPrecision(2)).toString();

  // Bars up and down from a line, one a number of a code.
  function bars(canvas, code, reach) {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, box.width * ratio);
    canvas.height = Math.max(1, box.height * ratio);
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const step = canvas.width / code.length, middle = canvas.height / 2;
    context.fillStyle = style.getPropertyValue("--live-code");
    code.forEach((value, j) => {
      const height = Math.max(-1, Math.min(1, value / reach)) * (middle - 2);
      context.fillRect(j * step + step * 0.15, middle - Math.max(0, height), step * 0.7, Math.abs(height));
    });
    context.fillStyle = style.color;
    context.fillRect(0, middle - 0.5, canvas.width, 1);
  }

  // --- a code that one moves ------------------------------------------------------------------

  function explore(root, data) {
    const decode = network(data.decoder, data.numbers);
    const view = element(root, "div", { class: "panels" });
    const code = Float32Array.from(data.start), state = {};
    let output, spoken;

    const answer = () => {
      state.code = Array.from(code);
      state.reconstruction = Array.from(decode(code));
      paint(output, state.reconstruction, data.shape);
      spoken.textContent = `code ${Array.from(code, round).join(", ")}`;
    };

    if (code.length === 2) map(view, data, code, () => answer());
    else sliders(root, view, data, code, () => answer());
    output = panel(view, "decoded", "The image that the decoder makes of the code");
    spoken = element(root, "div", { class: "spoken", role: "status" });
    answer();
    return { state, set(values) { code.set(values); answer(); } };
  }

  function sliders(root, view, data, code, changed) {
    const box = element(view, "div", { class: "sliders" });
    code.forEach((value, j) => {
      const row = element(box, "label", {}, `z${j} `);
      const [low, high] = data.range[j];
      const input = element(row, "input", { type: "range", min: low, max: high, step: (high - low) / 100, value });
      input.addEventListener("input", () => { code[j] = input.valueAsNumber; changed(); });
    });
    const buttons = element(root, "div", { class: "buttons", role: "group", "aria-label": "Codes to start from" });
    data.codes.slice(0, 8).forEach((start, i) => {
      const name = data.labels ? data.names[data.labels[i]] : `message ${i + 1}`;
      element(buttons, "button", { type: "button" }, name).addEventListener("click", () => {
        code.set(start);
        box.querySelectorAll("input").forEach((input, j) => { input.value = start[j]; });
        changed();
      });
    });
  }

  function map(view, data, code, changed) {
    const figure = element(view, "div", { class: "panel" });
    element(figure, "div", { class: "title" }, "codes");
    const box = element(figure, "div", {
      class: "map", tabindex: 0, role: "application",
      "aria-label": "Map of codes. Arrow keys move the point, with Shift in large steps.",
    });
    const canvas = element(box, "canvas", { "aria-hidden": "true" });
    const dot = element(box, "div", { class: "dot" });
    const [[left, right], [low, high]] = data.range;
    const place = () => {
      dot.style.left = `${(100 * (code[0] - left)) / (right - left)}%`;
      dot.style.bottom = `${(100 * (code[1] - low)) / (high - low)}%`;
    };
    const move = (a, b) => {
      code[0] = Math.min(right, Math.max(left, a));
      code[1] = Math.min(high, Math.max(low, b));
      place();
      changed();
    };
    const follow = (event) => {
      const at = box.getBoundingClientRect();
      move(
        left + ((event.clientX - at.left) / at.width) * (right - left),
        high - ((event.clientY - at.top) / at.height) * (high - low),
      );
    };
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      follow(event);
    });
    box.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
    box.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const size = event.shiftKey ? 0.1 : 0.02;
      move(code[0] + way[0] * size * (right - left), code[1] + way[1] * size * (high - low));
    });
    const draw = () => {
      const size = box.clientWidth * (window.devicePixelRatio || 1);
      canvas.width = canvas.height = Math.max(1, size);
      const context = canvas.getContext("2d");
      data.codes.forEach(([a, b], i) => {
        const x = ((a - left) / (right - left)) * size, y = ((high - b) / (high - low)) * size;
        context.fillStyle = data.labels ? COLOURS[data.labels[i] % COLOURS.length] : COLOURS[0];
        context.beginPath();
        context.arc(x, y, size / 150, 0, 2 * Math.PI);
        context.fill();
      });
    };
    draw();
    new ResizeObserver(draw).observe(box);
    if (data.labels) legend(figure, data.names, COLOURS);
    place();
  }

  // told apart with every kind of sight, on white and on black
  const COLOURS = ["#4878a8", "#d1661c", "#3f8f5b", "#b04a86", "#8a7a1e", "#2a9aa8", "#a33c3c", "#7159b5", "#777777", "#b58900"];

  // --- an image that one draws on -------------------------------------------------------------

  function sketch(root, data) {
    const encode = network(data.encoder, data.numbers), decode = network(data.decoder, data.numbers);
    const [channels, height, width] = data.shape;
    const image = Float32Array.from(data.messages[0]);
    const view = element(root, "div", { class: "panels sketch" });
    const drawing = panel(view, "draw here", "", "first");
    drawing.tabIndex = 0;
    drawing.classList.add("drawing");
    drawing.setAttribute("role", "application");
    drawing.setAttribute("aria-label", "The message. Draw with the mouse or a finger; or move with the arrow keys, and draw with the space bar.");
    const middle = panel(view, "code", "The code, one bar a number", "wide");
    middle.classList.add("bars");
    const output = panel(view, "comes back", "The reconstruction");
    const difference = panel(view, "error", "What was lost, in red, and what was added, in blue");
    const gauge = element(root, "div", { class: "gauge", "aria-hidden": "true" });
    const level = element(gauge, "div", { class: "level" });
    const tools = element(root, "div", { class: "buttons" });
    const spoken = element(root, "div", { class: "spoken", role: "status" });
    legend(root, ["lost", "added"], [LOST, ADDED].map((ink) => `rgb(${ink})`));
    let ink = 1, waiting = false, cursor = [height >> 1, width >> 1], shown = false;

    const state = {};
    const answer = () => {
      waiting = false;
      state.code = Array.from(encode(image));
      state.reconstruction = Array.from(decode(state.code));
      state.error = state.reconstruction.reduce((sum, a, i) => sum + (a - image[i]) ** 2, 0);
      paint(drawing, image, data.shape);
      if (shown) {
        const context = drawing.getContext("2d");
        context.fillStyle = "#c2570c";
        context.fillRect(cursor[1], cursor[0], 1, 1);
      }
      paint(output, state.reconstruction, data.shape);
      bars(middle, state.code, data.reach);
      compare(difference, state.reconstruction, image, data.shape);
      // the mark in the middle is the error that is named
      level.style.width = `${Math.min(100, (50 * state.error) / data.usual)}%`;
      gauge.classList.toggle("high", state.error > data.usual);
      spoken.textContent = `squared error ${round(state.error)}`;
      spoken.textContent += `; ${data.share} of 100 ordinary messages stay below ${round(data.usual)}, the mark`;
    };
    const soon = () => {
      if (!waiting) requestAnimationFrame(answer);
      waiting = true;
    };
    const dab = (row, column) => {
      for (let r = Math.floor(row) - 1; r <= row + 2; r++) for (let c = Math.floor(column) - 1; c <= column + 2; c++) {
        if (r < 0 || c < 0 || r >= height || c >= width) continue;
        const near = Math.max(0, 1 - Math.hypot(r + 0.5 - row, c + 0.5 - column) / 1.8);
        for (let d = 0; d < channels; d++) {
          const i = (d * height + r) * width + c;
          image[i] = ink ? Math.max(image[i], Math.min(1, 1.6 * near)) : Math.min(image[i], 1 - Math.min(1, 1.6 * near));
        }
      }
      soon();
    };
    let last = null;
    const stroke = (event) => {
      const at = drawing.getBoundingClientRect();
      const to = [((event.clientY - at.top) / at.height) * height, ((event.clientX - at.left) / at.width) * width];
      const from = last || to, count = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2) || 1;
      for (let i = 1; i <= count; i++) {
        dab(from[0] + ((to[0] - from[0]) * i) / count, from[1] + ((to[1] - from[1]) * i) / count);
      }
      last = to;
    };
    drawing.addEventListener("pointerdown", (event) => {
      drawing.setPointerCapture(event.pointerId);
      last = null;
      stroke(event);
    });
    drawing.addEventListener("pointermove", (event) => { if (event.buttons) stroke(event); });
    drawing.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === " ") dab(cursor[0] + 0.5, cursor[1] + 0.5);
      else if (way) {
        cursor = [Math.min(height - 1, Math.max(0, cursor[0] + way[0])), Math.min(width - 1, Math.max(0, cursor[1] + way[1]))];
        shown = true;
        soon();
      } else return;
      event.preventDefault();
    });
    drawing.addEventListener("blur", () => { shown = false; soon(); });

    const button = (text, act) => element(tools, "button", { type: "button" }, text).addEventListener("click", act);
    const load = (values) => { image.set(values); soon(); };
    const pen = element(tools, "button", { type: "button", "aria-pressed": "false" }, "eraser");
    pen.addEventListener("click", () => {
      ink = 1 - ink;
      pen.setAttribute("aria-pressed", String(!ink));
    });
    button("clear", () => load(new Float32Array(image.length)));
    let next = 0;
    button("another message", () => load(data.messages[(next = (next + 1) % data.messages.length)]));
    new ResizeObserver(soon).observe(middle);
    answer();
    return { state, set(values) { image.set(values); answer(); } };
  }

  // --- into the page, once it is seen ---------------------------------------------------------

  const KINDS = { explore, sketch };

  function start(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    data.numbers = bytes(data.numbers);
    data.messages = data.messages?.map((text) => Float32Array.from(new Uint8Array(bytes(text)), (a) => a / 255));
    root.querySelector(".still")?.remove();
    root.aebook = KINDS[data.figure](root, data);
    root.dataset.state = "live";
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      start(target);
    }
  }, { rootMargin: "300px" });

  function scan() {
    for (const root of document.querySelectorAll(".aebook-live:not([data-state])")) {
      root.dataset.state = "waiting";
      observer.observe(root);
    }
  }

  window.aebookLive = { scan };
  scan();
})();
