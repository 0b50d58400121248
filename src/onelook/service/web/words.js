// Numbers in words that people use.

const SPACE = "\u00a0"; // keeps a number and its unit on one line

/** A probability in percent for a list, where room is short: "> 99%". */
export function shortPercent(share) {
  return percent(share).replace("more than", ">").replace("less than", "<");
}

/** A probability in percent; never "0%" or "100%", which no calibration can promise. */
export function percent(share) {
  if (share >= 0.995) return `more than 99%`;
  if (share < 0.005) return `less than 1%`;
  return `${Math.round(100 * share)}%`;
}

/** A rate in percent with about two figures: 0.0123 is "1.2%". */
export function rate(share) {
  const value = 100 * share;
  const digits =
    value === 0 || value >= 9.95 ? 0 : Math.min(4, 1 - Math.floor(Math.log10(value)));
  return `${Number(value.toFixed(Math.max(digits, 0)))}%`;
}

/** A rate as a count of cases: 0.01 is "in 1 of 100 cases", 0.3 "in 30 of 100 cases". */
export function inCases(share) {
  if (share <= 0) return "in none of the cases that were measured";
  if (share > 0.1) return `in ${Math.round(100 * share)} of 100 cases`;
  const n = 1 / share;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 1);
  return `in 1 of ${(Math.round(n / unit) * unit).toLocaleString("en")} cases`;
}

/** "1 picture", "1,200 pictures". */
export function pictures(n) {
  return `${n.toLocaleString("en")}${SPACE}${n === 1 ? "picture" : "pictures"}`;
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

/** How sure the answer to a pair is, as a sentence. */
export function sureness(answer) {
  const { probability: p, verdict } = answer;
  if (p === null) return "";
  const certain = verdict === "different" ? 1 - p : p;
  const things = verdict === "different" ? "different things" : "the same thing";
  const sentence =
    verdict === "unsure" || certain < 0.5
      ? `the chance that these show ${things} is ${percent(certain)}`
      : `${percent(certain)} sure that these show ${things}`;
  return capital(sentence);
}

/** Which model answered, beside which images; for the head of the small print. */
export function answeredBy(model, cohort) {
  return `By ${model?.name ?? "the model"}${cohort ? `, ${cohort}` : ""}. `;
}

const FIELD = /^(left|right|image(?: \d+)?|images|identity): /;

/** The form field that an error of the service names: "left", "image 2"; or "". */
export function fieldOf(error) {
  return FIELD.exec(error.message)?.[1] ?? "";
}

/** What the service said, for people: a sentence that says what to do. */
export function complaint(error) {
  const said = error.message.replace(FIELD, "");
  if (/cannot be read as an image|not an image|damaged|empty file/i.test(said)) {
    return "This cannot be read as a picture. Choose a PNG, JPEG, WebP, GIF or TIFF file.";
  }
  if (/^no ink/.test(said)) return `${capital(said)}. Draw or choose something darker.`;
  return capital(said);
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
