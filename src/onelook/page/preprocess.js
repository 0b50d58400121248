// A picture as a network takes it: what data/inputs/ does in Python, in the same steps.

const TRIANGLE = (x) => Math.max(0, 1 - Math.abs(x));
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
// Pillow's filters: how far each reaches, and its weight there.
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, TRIANGLE],
  bicubic: [2, cubic],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};
const WORKING_SIDE = 800;
const [FLAT, NEAR] = [8, 32];
const SOFT_EDGE = [0.35, 0.65];
const UNIT = 2 ** 22; // of Pillow's fixed-point weights

export class NoInkError extends Error {}

/** Pixels (C, H, W) uint8 of a picture {width, height, data}, data RGBA, as settings say. */
export function pixelsOf(picture, settings) {
  let bands = bandsOf(picture, settings);
  if (settings.crop) bands = bands.map((band) => cropped(band, settings.crop));
  const size = [settings.width, settings.height];
  const n = size[0] * size[1];
  const pixels = new Uint8Array(settings.channels * n);
  if (settings.ink) {
    const drawing = frameInk(findInk(bands[0]), size, settings.ink);
    for (let i = 0; i < pixels.length; i++) pixels[i] = drawing.data[i % n];
  } else {
    const fit = settings.fit === "pad" ? padded : resized;
    bands.forEach((band, c) => pixels.set(fit(band, size, settings.resample).data, c * n));
  }
  const turned = settings.ink ? !settings.invert : settings.invert;
  return turned ? pixels.map((value) => 255 - value) : pixels;
}

/** Numbers (C, H, W) float32 of pixels, normalised. */
export function inputOf(pixels, { channels, mean, std }) {
  const n = pixels.length / channels;
  const of = (values, i) => values[values.length === 1 ? 0 : Math.floor(i / n)];
  return Float32Array.from(pixels, (value, i) => (value / 255 - of(mean, i)) / of(std, i));
}

/** One band of grey, or three of colour, transparent parts over white or black. */
function bandsOf({ width, height, data }, settings) {
  const paper = settings.ink && isLightOnGlass(data) ? 0 : 255;
  const over = (value, alpha) => Math.round((value * alpha + paper * (255 - alpha)) / 255);
  const isGrey = settings.channels === 1 || settings.ink;
  const bands = Array.from({ length: isGrey ? 1 : 3 }, () => blank(width, height));
  for (let i = 0; i < width * height; i++) {
    const alpha = data[4 * i + 3];
    const [r, g, b] = [0, 1, 2].map((c) => over(data[4 * i + c], alpha));
    if (isGrey) bands[0].data[i] = grey(r, g, b);
    else [r, g, b].forEach((value, c) => (bands[c].data[i] = value));
  }
  return bands;
}

const grey = (r, g, b) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;

function isLightOnGlass(data) {
  let [alphas, light] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    alphas += data[i + 3];
    light += data[i + 3] * grey(data[i], data[i + 1], data[i + 2]);
  }
  return alphas < (128 * data.length) / 4 && light > 128 * alphas;
}

const blank = (width, height, Type = Uint8Array) => ({
  width,
  height,
  data: new Type(width * height),
});

function cropped({ width, height, data }, share) {
  const side = Math.max(1, rint(share * Math.min(width, height)));
  const [left, top] = [(width - side) >> 1, (height - side) >> 1];
  const part = blank(side, side, data.constructor);
  for (let y = 0; y < side; y++) {
    const start = (top + y) * width + left;
    part.data.set(data.subarray(start, start + side), y * side);
  }
  return part;
}

/** To the nearest integer, halves to the even one, as NumPy and Python do. */
function rint(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + (down & 1) : Math.round(value);
}

function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/** A band resized as Pillow does: across, then down, each rounded to bytes. */
export function resized(band, [width, height], name, box) {
  const [left, top, right, bottom] = (box ?? [0, 0, band.width, band.height]).map(Math.fround);
  const across = weightsOf(band.width, left, right, width, FILTERS[name]);
  const down = weightsOf(band.height, top, bottom, height, FILTERS[name]);
  const Type = band.data.constructor;
  const wide = blank(width, band.height, Type);
  for (let y = 0; y < band.height; y++) {
    for (let x = 0; x < width; x++) {
      wide.data[y * width + x] = total(band.data, y * band.width, 1, across[x]);
    }
  }
  const result = blank(width, height, Type);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      result.data[y * width + x] = total(wide.data, x, width, down[y]);
    }
  }
  return result;
}

function total(data, start, step, { first, floats, whole }) {
  let sum = 0;
  if (data instanceof Float32Array) {
    floats.forEach((weight, i) => (sum += data[start + (first + i) * step] * weight));
    return sum;
  }
  for (let i = 0; i < whole.length; i++) sum += data[start + (first + i) * step] * whole[i];
  return Math.min(255, Math.max(0, Math.floor((sum + UNIT / 2) / UNIT)));
}

function weightsOf(size, start, end, length, [reach, filter]) {
  const scale = Math.fround(end - start) / length;
  const stretch = Math.max(1, scale);
  return Array.from({ length }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * stretch + 0.5));
    const last = Math.min(size, Math.trunc(centre + reach * stretch + 0.5));
    const raw = [];
    for (let x = first; x < last; x++) raw.push(filter((x - centre + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0) || 1;
    const floats = raw.map((weight) => weight / sum);
    const whole = floats.map((w) => Math.trunc(w * UNIT + (w < 0 ? -0.5 : 0.5)));
    return { first, floats, whole };
  });
}

function padded(band, size, name) {
  const scale = Math.min(size[0] / band.width, size[1] / band.height);
  const inner = [band.width, band.height].map((side, i) =>
    Math.min(size[i], Math.max(1, rint(side * scale))),
  );
  const small = resized(band, inner, name);
  const result = blank(...size);
  result.data.fill(Math.trunc(median(rimOf(small))));
  const [left, top] = [(size[0] - inner[0]) >> 1, (size[1] - inner[1]) >> 1];
  for (let y = 0; y < inner[1]; y++) {
    const row = small.data.subarray(y * inner[0], (y + 1) * inner[0]);
    result.data.set(row, (top + y) * size[0] + left);
  }
  return result;
}

/** The pixels of all four sides, corners twice. */
function rimOf({ width, height, data }) {
  const rim = [...data.subarray(0, width), ...data.subarray((height - 1) * width)];
  for (let y = 0; y < height; y++) rim.push(data[y * width], data[(y + 1) * width - 1]);
  return rim;
}

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

const median = (values) => quantile(values, 0.5);

/** Ink of a grey band: 255 where it is, 0 on paper. See data/inputs/ink.py. */
export function findInk(band) {
  const longer = Math.max(band.width, band.height);
  if (longer > WORKING_SIDE) {
    const sides = [band.width, band.height].map((side) => (side * WORKING_SIDE) / longer);
    band = resized(band, sides.map((side) => Math.max(1, rint(side))), "box");
  }
  const whole = histogramOf(band.data);
  const rim = histogramOf(rimOf(band));
  const weighted = whole.map((share, i) => share + rim[i] / 2);
  const shades = [...whole.keys()].filter((i) => whole[i] > 0);
  if (shades.length === 2 && shades[1] - shades[0] >= 20) {
    const ink = shades[weighted[shades[1]] < weighted[shades[0]] ? 1 : 0];
    return { ...band, data: band.data.map((value) => (value === ink ? 255 : 0)) };
  }
  const isSmall = Math.max(band.width, band.height) < 100;
  const levels = flatLevels(whole, weighted, isSmall);
  if (levels === null) return photographed(band);
  const [paper, ink] = levels;
  return { ...band, data: band.data.map((value) => softened((value - paper) / (ink - paper))) };
}

function histogramOf(values) {
  const counts = new Array(256).fill(0);
  for (const value of values) counts[value]++;
  return counts.map((count) => count / values.length);
}

function peakOf(histogram) {
  const greatest = (values) => values.indexOf(Math.max(...values));
  const near = histogram.map((_, i) => {
    let sum = 0;
    for (let j = Math.max(0, i - FLAT); j <= Math.min(255, i + FLAT); j++) sum += histogram[j];
    return sum;
  });
  const middle = greatest(near);
  const low = Math.max(0, middle - FLAT);
  return low + greatest(histogram.slice(low, middle + FLAT + 1));
}

function flatLevels(whole, weighted, isSmall) {
  const paper = peakOf(weighted);
  const sumOf = (keep) => whole.reduce((sum, share, i) => sum + (keep(i) ? share : 0), 0);
  const away = (i) => Math.abs(i - paper);
  const flat = sumOf((i) => away(i) <= FLAT);
  const near = sumOf((i) => away(i) > FLAT && away(i) <= NEAR);
  const ink = peakOf(whole.map((share, i) => (away(i) > NEAR ? share : 0)));
  const inked = sumOf((i) => away(i) > NEAR && Math.abs(i - ink) <= FLAT);
  if ((flat < 0.25 || flat + inked < 0.75 || near > 0.12) && !isSmall) return null;
  const isLighter = whole.reduce((sum, share, i) => sum + share * (i - paper) ** 3, 0) > 0;
  const drawn = whole.map((share, i) => ((isLighter ? i - paper : paper - i) > FLAT ? share : 0));
  const farthest = Math.max(...drawn.map((share, i) => (share > 0 ? away(i) : 0)));
  if (farthest < 20) throw new NoInkError("no ink: the picture is blank");
  drawn.forEach((_, i) => (drawn[i] *= away(i) < farthest / 2 ? 0 : 1));
  const half = drawn.reduce((a, b) => a + b, 0) / 2;
  let sum = 0;
  for (const i of [...drawn.keys()].sort((a, b) => away(a) - away(b) || a - b)) {
    if ((sum += drawn[i]) >= half) return [paper, i];
  }
  return null;
}

function softened(contrast) {
  const [low, high] = SOFT_EDGE;
  return rint(255 * Math.min(1, Math.max(0, (contrast - low) / (high - low))));
}

/** Ink of a photo of a sheet: what differs from the paper around it. */
function photographed(band) {
  const light = blurred({ ...band, data: Float32Array.from(band.data) }, 0.7, true);
  const paper = paperOf(light);
  const difference = light.data.map((value, i) => value - paper.data[i]);
  const isLighter = difference.reduce((sum, value) => sum + value ** 3, 0) > 0;
  const contrast = difference.map((value, i) =>
    isLighter ? value / (256 - paper.data[i]) : -value / Math.max(paper.data[i], 1),
  );
  const noise = 1.4826 * median(contrast.map(Math.abs));
  let full = quantile(contrast, 0.999);
  const drawn = contrast.filter((value) => value > full / 2);
  if (drawn.length) full = median(drawn);
  if (full < Math.max(0.1, 8 * noise)) {
    throw new NoInkError("no ink: nothing stands out from the paper");
  }
  const ink = { ...band, data: Uint8Array.from(contrast, (value) => softened(value / full)) };
  keepStrokes(ink);
  if (ink.data.some((value) => value > 0)) return ink;
  throw new NoInkError("no ink: nothing but specks and the picture's edge");
}

function paperOf(light) {
  const { width, height, data } = light;
  const cell = Math.max(1, rint(Math.max(width, height) / 40));
  const first = reduced(light, cell);
  const medians = mediansOf(first, Math.max(3, Math.floor(Math.min(first.width, first.height) / 3)));
  const paper = resized(medians, [width, height], "bicubic");
  const difference = data.map((value, i) => Math.abs(value - paper.data[i]));
  const limit = 2.5 * median(difference) + 4;
  const clear = { ...light, data: difference.map((value) => (value < limit ? 1 : 0)) };
  const lit = { ...light, data: data.map((value, i) => value * clear.data[i]) };
  const shades = blurred(reduced(lit, cell), 1.5, false);
  const weights = blurred(reduced(clear, cell), 1.5, false);
  const known = weights.data.map((weight, i) =>
    weight > 0.02 ? shades.data[i] / Math.max(weight, 0.02) : medians.data[i],
  );
  return resized({ ...medians, data: known }, [width, height], "bicubic");
}

function blurred(band, spread, mirrors) {
  const reach = Math.floor(4 * spread + 0.5);
  const raw = Array.from({ length: reach + 1 }, (_, i) => Math.exp((-0.5 / spread ** 2) * i * i));
  const sum = 2 * raw.reduce((a, b) => a + b, 0) - raw[0];
  const at = (i, n) => {
    if (!mirrors) return Math.min(n - 1, Math.max(0, i));
    const turn = ((i % (2 * n)) + 2 * n) % (2 * n);
    return turn < n ? turn : 2 * n - 1 - turn;
  };
  const along = (source, n, step, start, out) => {
    for (let i = 0; i < n; i++) {
      let value = (source[start + i * step] * raw[0]) / sum;
      for (let k = reach; k > 0; k--) {
        const pair = source[start + at(i - k, n) * step] + source[start + at(i + k, n) * step];
        value += (pair * raw[k]) / sum;
      }
      out[start + i * step] = value;
    }
  };
  const { width, height, data } = band;
  const [once, twice] = [new Float32Array(data.length), new Float32Array(data.length)];
  for (let x = 0; x < width; x++) along(data, height, width, x, once);
  for (let y = 0; y < height; y++) along(once, width, 1, y * width, twice);
  return { width, height, data: twice };
}

function reduced({ width, height, data }, cell) {
  const small = blank(Math.ceil(width / cell), Math.ceil(height / cell), Float32Array);
  const counts = new Float64Array(small.data.length);
  const sums = new Float64Array(small.data.length);
  data.forEach((value, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const at = Math.floor(y / cell) * small.width + Math.floor(x / cell);
    sums[at] += value;
    counts[at]++;
  });
  small.data.set(sums.map((sum, i) => sum / counts[i]));
  return small;
}

function mediansOf({ width, height, data }, side) {
  const before = Math.floor(side / 2);
  const within = (i, n) => Math.min(n - 1, Math.max(0, i));
  const medians = data.map((_, i) => {
    const around = [];
    for (let dy = -before; dy < side - before; dy++) {
      const y = within(Math.floor(i / width) + dy, height);
      for (let dx = -before; dx < side - before; dx++) {
        around.push(data[y * width + within((i % width) + dx, width)]);
      }
    }
    return around.sort((a, b) => a - b)[(side * side) >> 1];
  });
  return { width, height, data: medians };
}

/** Clear specks, faint lines and the sheet's edge. */
function keepStrokes({ width, height, data }) {
  const spots = spotsOf(width, height, data);
  const most = spots.reduce((area, spot) => Math.max(area, spot.area), 0);
  for (const spot of spots) {
    if (spot.area <= Math.max(4, 0.004 * most)) for (const i of spot.pixels) data[i] = 0;
  }
}

/** Connected ink; an area of 0 for what runs along the rim. */
function spotsOf(width, height, data) {
  const seen = new Uint8Array(data.length);
  const spots = [];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || seen[start]) continue;
    const pixels = [start];
    let [area, contact, left, right, top, bottom] = [0, 0, width, 0, height, 0];
    seen[start] = 1;
    for (let n = 0; n < pixels.length; n++) {
      const i = pixels[n];
      const [x, y] = [i % width, Math.floor(i / width)];
      area += data[i] === 255;
      contact += x === 0 || y === 0 || x === width - 1 || y === height - 1;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const next = v * width + u;
          if (data[next] && !seen[next]) pixels.push(next);
          if (data[next]) seen[next] = 1;
        }
      }
    }
    if (contact > 0.3 * Math.max(right - left, bottom - top)) area = 0;
    spots.push({ pixels, area });
  }
  return spots;
}

/** Ink in the middle of a frame, drawn with one pen. See data/inputs/framing.py. */
export function frameInk(ink, size, settings) {
  const extent = measured(ink);
  const scale = scaleOf(extent, ink, size, settings);
  const pen = settings.pen * Math.min(...size);
  const width = extent.pen * scale;
  if (0.8 * pen <= width && width <= 1.5 * pen) {
    return withPen(placed(ink, extent, scale, size), width, pen);
  }
  const times = Math.max(1, rint(4 / pen));
  const large = placed(ink, extent, scale * times, size.map((side) => side * times));
  return withPen(resized(redrawn(large, width * times, pen * times), size, "bilinear"), pen, pen);
}

function measured({ width, height, data }) {
  const least = data.some((value) => value > 127) ? 127 : 0;
  const drawn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] > least;
  let [left, top, right, bottom, area, soft] = [width, height, 0, 0, 0, 0];
  let [straight, slanted] = [0, 0];
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const [here, before, above] = [drawn(x, y), drawn(x - 1, y), drawn(x, y - 1)];
      straight += (here !== before) + (here !== above);
      slanted += (here !== drawn(x - 1, y - 1)) + (before !== above);
      if (x < width && y < height) soft += data[y * width + x] % 255 > 0;
      if (!here) continue;
      area++;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    }
  }
  const outline = (Math.PI / 8) * (straight + slanted / Math.SQRT2);
  return { left, top, right, bottom, pen: (2 * area) / outline, edge: soft / outline };
}

function scaleOf(extent, ink, size, { fill, pen: share, zoom }) {
  const frame = Math.min(...size);
  const pen = share * frame;
  const wide = Math.max(extent.right - extent.left - extent.pen, 1e-6);
  const high = Math.max(extent.bottom - extent.top - extent.pen, 1e-6);
  const most = extent.edge <= 1.5 ? 0.12 : 0.25;
  const scale = Math.min(
    (fill * size[0] - pen) / wide,
    (fill * size[1] - pen) / high,
    (most * frame) / extent.pen,
  );
  if (!zoom) return scale;
  const plain = Math.min(size[0] / ink.width, size[1] / ink.height);
  return Math.min(Math.max(scale, zoom[0] * plain), zoom[1] * plain);
}

function placed(ink, extent, scale, size) {
  const [wide, high] = [size[0] / scale, size[1] / scale];
  const left = (extent.left + extent.right - wide) / 2;
  const top = (extent.top + extent.bottom - high) / 2;
  const [x, y] = [Math.floor(left), Math.floor(top)];
  const outer = blank(Math.ceil(left + wide) + 1 - x, Math.ceil(top + high) + 1 - y);
  for (let v = Math.max(0, y); v < Math.min(ink.height, y + outer.height); v++) {
    for (let u = Math.max(0, x); u < Math.min(ink.width, x + outer.width); u++) {
      outer.data[(v - y) * outer.width + u - x] = ink.data[v * ink.width + u];
    }
  }
  return resized(outer, size, "bilinear", [left - x, top - y, left - x + wide, top - y + high]);
}

function withPen(band, width, pen) {
  const [level, top] = [bump(pen / 2, width), bump(0, width)];
  const gain = 0.5 / Math.max(Math.min(level, top - level), 0.01);
  const table = Array.from({ length: 256 }, (_, value) =>
    rint(255 * Math.min(1, Math.max(0, 0.5 + gain * (value / 255 - level)))),
  );
  table[0] = 0;
  return { ...band, data: band.data.map((value) => table[value]) };
}

function bump(distance, width) {
  const root = Math.sqrt(2 / 6);
  return (erf((distance + width / 2) / root) - erf((distance - width / 2) / root)) / 2;
}

function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-17; n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Strokes grown or peeled to the width of a pen around their middle. */
function redrawn(band, width, pen) {
  const enough = Math.max(width, 1.5);
  const drawn = withPen(band, width, enough).data.map((value) => (value > 127 ? 1 : 0));
  const reach = Math.ceil(Math.max(width, pen) / 2) + 1;
  const beyond = (marked) =>
    leastAround({ ...band, data: Float64Array.from(marked, (m) => (m ? 0 : Infinity)) }, reach, 1)
      .map((squared) => Math.sqrt(squared) - 0.5);
  let inside;
  if (enough < pen) inside = beyond(drawn).map((far) => (pen - enough) / 2 - far);
  else {
    const depth = beyond(drawn.map((value) => 1 - value));
    const negative = { ...band, data: depth.map((value) => -value) };
    const deepest = leastAround(negative, Math.ceil(width / 2), 0);
    inside = depth.map((value, i) =>
      drawn[i] ? value - Math.min(-deepest[i], width / 2) + pen / 2 : -1,
    );
  }
  const shade = (value) => rint(255 * Math.min(1, Math.max(0, value + 0.5)));
  return { ...band, data: Uint8Array.from(inside, shade) };
}

function leastAround({ width, height, data }, reach, slope) {
  const pass = (source, n, step, start, out) => {
    for (let i = 0; i < n; i++) {
      let least = Infinity;
      for (let j = Math.max(0, i - reach); j <= Math.min(n - 1, i + reach); j++) {
        least = Math.min(least, source[start + j * step] + slope * (i - j) ** 2);
      }
      out[start + i * step] = least;
    }
  };
  const [once, twice] = [new Float64Array(data.length), new Float64Array(data.length)];
  for (let x = 0; x < width; x++) pass(data, height, width, x, once);
  for (let y = 0; y < height; y++) pass(once, width, 1, y * width, twice);
  return twice;
}
