// A model that answers in the browser: its graph, scores, familiarity and decision.

import { inputOf, pixelsOf } from "./preprocess.js";

const SIDE = 32; // pixels that familiarity compares

const sum = (values) => values.reduce((a, b) => a + b, 0);
const length = (values) => Math.sqrt(sum(values.map((value) => value * value)));
const pairs = (combine) => (a, b) => sum(a.map((value, i) => combine(value, b[i])));
const squared = pairs((x, y) => (x - y) ** 2);
const manhattan = pairs((x, y) => Math.abs(x - y));

const SCORES = {
  cosine: (a, b) => {
    const both = length(a) * length(b);
    return Math.max(-1, Math.min(1, both && pairs((x, y) => x * y)(a, b) / both));
  },
  euclidean: (a, b) => 0 - Math.sqrt(squared(a, b)),
  "squared-euclidean": (a, b) => 0 - squared(a, b),
  manhattan: (a, b) => 0 - manhattan(a, b),
  exponential: (a, b) => Math.exp(-manhattan(a, b)),
};

export class Model {
  /** @param {object} ort ONNX Runtime Web. `read(name)` gives the bytes of a file. */
  static async load(ort, read) {
    const settings = JSON.parse(new TextDecoder().decode(await read("model.json")));
    const data = await read("model.safetensors");
    const session = await ort.InferenceSession.create(await read("model.onnx"), {
      externalData: [{ path: "model.safetensors", data }],
      executionProviders: ["wasm"],
    });
    const familiar = settings.familiar && tensorsOf(await read("familiarity.safetensors"));
    return new Model(ort, session, settings, familiar);
  }

  constructor(ort, session, settings, familiar) {
    Object.assign(this, { ort, session, settings, familiar });
  }

  /** Pixels, embedding and unlikeness (null if not known) of {width, height, data: RGBA}. */
  async look(picture) {
    const { preprocess } = this.settings;
    const pixels = pixelsOf(picture, preprocess);
    const shape = [1, preprocess.channels, preprocess.height, preprocess.width];
    const images = new this.ort.Tensor("float32", inputOf(pixels, preprocess), shape);
    const found = await this.session.run({ [this.session.inputNames[0]]: images });
    const embedding = Array.from(found[this.session.outputNames[0]].data);
    const unlike = this.familiar && unlikeness(this.familiar, pixels, shape, embedding);
    return { pixels, embedding, unlike };
  }

  /** Score, probability and verdict of two pictures. */
  async compare(left, right) {
    const looks = [await this.look(left), await this.look(right)];
    const score = SCORES[this.settings.similarity](...looks.map((one) => one.embedding));
    return { score, ...this.judge(score, looks.map((one) => one.unlike)) };
  }

  judge(score, unlike) {
    const { decision } = this.settings;
    if (!decision) return { probability: null, verdict: "", reason: "" };
    const strange = unlike.findIndex((one) => one > 1);
    const reason = strange < 0 ? "" : `picture ${strange + 1} is unlike what the model knows`;
    const { threshold, reject_below, seen, slope, intercept } = decision;
    const within = seen ? Math.min(seen[1], Math.max(seen[0], score)) : score;
    const probability = 1 / (1 + Math.exp(-(slope * within + intercept)));
    let verdict = "unsure";
    if (!reason && score >= threshold) verdict = "same";
    else if (!reason && score < reject_below) verdict = "different";
    return { probability, verdict, reason };
  }
}

/** The float32 tensors of a safetensors file: {name: {shape, data}}. */
function tensorsOf(bytes) {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  delete header.__metadata__;
  const read = ({ shape, data_offsets: [start, end] }) => ({
    shape,
    data: new Float32Array(bytes.slice(8 + size + start, 8 + size + end).buffer),
  });
  return Object.fromEntries(Object.entries(header).map(([name, one]) => [name, read(one)]));
}

/** How unlike familiar images one is: familiar up to 1. See familiarity.py. */
function unlikeness(tensors, pixels, [, channels, height, width], embedding) {
  const small = shrunk(pixels, channels, height, width);
  const mean = sum(small) / small.length;
  const centred = small.map((value) => value - mean);
  const contrast = Math.max(length(centred) / Math.sqrt(small.length), 1e-6);
  const standard = centred.map((value) => value / contrast);
  const features = [
    ...subspace(tensors, "pixels", standard),
    ...subspace(tensors, "vectors", embedding),
    ...[mean, Math.log(contrast), changes(standard, SIDE), changes(standard, 1)],
    standard.filter((value) => Math.abs(value) < 0.5).length / standard.length,
    Math.log(Math.max(length(embedding), 1e-6)),
  ];
  const { weights, offset } = tensors;
  return sum(features.map((value, i) => value * weights.data[i])) + offset.data[0];
}

/** The mean change from one pixel to the next, a step away. */
function changes(values, step) {
  const found = [];
  for (let i = 0; i + step < values.length; i++) {
    if (step > 1 || (i + 1) % SIDE) found.push(Math.abs(values[i + step] - values[i]));
  }
  return sum(found) / found.length;
}

function subspace(tensors, name, point) {
  const [mean, directions, spreads] = ["mean", "directions", "spreads"].map(
    (part) => tensors[`${name}.${part}`].data,
  );
  const centred = point.map((value, i) => value - mean[i]);
  const along = Array.from(spreads, (_, k) =>
    sum(centred.map((value, i) => value * directions[k * centred.length + i])),
  );
  const place = along.map((value, k) => value / spreads[k]);
  const distance = sum(place.map((value) => value * value)) / place.length;
  const beside = length(centred) ** 2 - length(along) ** 2;
  const near = place.map((value) => Math.max(-5, Math.min(5, value)));
  const ends = [beside, distance].map((value) => Math.log(Math.max(value, 1e-6)));
  return [...near, ...near.map((value) => value * value), ...ends];
}

function shrunk(pixels, channels, height, width) {
  const n = height * width;
  const grey = Array.from({ length: n }, (_, i) => {
    let total = 0;
    for (let c = 0; c < channels; c++) total += pixels[c * n + i];
    return total / channels / 255;
  });
  const [down, across] = [parts(height), parts(width)];
  return Array.from({ length: SIDE * SIDE }, (_, at) => {
    let total = 0;
    for (const [y, share] of down[Math.floor(at / SIDE)]) {
      for (const [x, part] of across[at % SIDE]) total += share * part * grey[y * width + x];
    }
    return total;
  });
}

function parts(size) {
  return Array.from({ length: SIDE }, (_, k) => {
    const [start, end] = [(k * size) / SIDE, ((k + 1) * size) / SIDE];
    const found = [];
    for (let i = Math.floor(start); i < Math.min(size, Math.ceil(end)); i++) {
      const overlap = Math.min(end, i + 1) - Math.max(start, i);
      if (overlap > 0) found.push([i, overlap]);
    }
    const total = sum(found.map(([, overlap]) => overlap));
    return found.map(([i, overlap]) => [i, overlap / total]);
  });
}
