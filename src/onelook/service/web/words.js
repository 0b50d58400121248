// Numbers as people say them.

const SPACE = "\u00a0"; // keeps a number and its unit on one line

/** A probability in percent; never "0 %" or "100 %", which no calibration can promise. */
export function percent(share) {
  if (share >= 0.995) return `more than 99${SPACE}%`;
  if (share < 0.005) return `less than 1${SPACE}%`;
  return `${Math.round(100 * share)}${SPACE}%`;
}

/** A rate in percent with about two figures: 0.0123 is "1.2 %". */
export function rate(share) {
  const value = 100 * share;
  const digits = value === 0 || value >= 9.95 ? 0 : Math.min(4, 1 - Math.floor(Math.log10(value)));
  return `${Number(value.toFixed(Math.max(digits, 0)))}${SPACE}%`;
}

/** A rate as a count of cases: 0.01 is "1 in 100", 0.3 is "30 in 100". */
export function oneIn(share) {
  if (share <= 0) return "none measured";
  if (share > 0.1) return `${Math.round(100 * share)} in 100`;
  const n = 1 / share;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 1);
  return `1 in ${(Math.round(n / unit) * unit).toLocaleString("en")}`;
}

/** "1 picture", "1,200 pictures". */
export function count(n, one, many) {
  return `${n.toLocaleString("en")}${SPACE}${n === 1 ? one : many}`;
}

/** A score with enough figures to tell it from its threshold. */
export function figure(value) {
  return value.toFixed(Math.abs(value) >= 100 ? 1 : 3).replace("-", "\u2212");
}

/** Bytes for people: "31 MB". */
export function bytes(n) {
  if (n >= 1e6) return `${(n / 1e6).toFixed(n >= 1e7 ? 0 : 1)}${SPACE}MB`;
  return `${Math.max(1, Math.round(n / 1e3))}${SPACE}kB`;
}

/** "same", "different", "unsure", or "" where the model carries no threshold. */
export function verdictOf(answer) {
  if (answer.threshold === null) return "";
  if (answer.is_same === null) return "unsure";
  return answer.is_same ? "same" : "different";
}

/** How sure the answer to a pair is, as a sentence. */
export function sureness(answer) {
  const p = answer.probability;
  if (p === null) return "";
  const verdict = verdictOf(answer);
  const certain = verdict === "different" ? 1 - p : p;
  const things = verdict === "different" ? "different things" : "the same thing";
  const sentence =
    verdict === "unsure" || certain < 0.5
      ? `the chance that these show ${things} is ${percent(certain)}`
      : `${percent(certain)} sure that these show ${things}`;
  return capital(sentence);
}

/** What the service said of a picture, without the picture's name, as a next step. */
export function complaint(message, name) {
  const said = message.startsWith(`${name}: `) ? message.slice(name.length + 2) : message;
  if (/not an image|damaged|empty file|cannot identify/i.test(said)) {
    return "This cannot be read as a picture. Choose a PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF file.";
  }
  return capital(said);
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
