// Sends a question once the pictures stop changing; only the newest is answered.

import { ServiceError, ask } from "./api.js";
import { element, say } from "./elements.js";
import { complaint } from "./words.js";

const HAND_PAUSE = 500; // milliseconds after a stroke, since another may follow
const PATIENCE = 250; // milliseconds until it is said that an answer is awaited

export class Asker {
  #running = new AbortController();
  #timer = 0;
  #patience = 0;

  /**
   * @param {{view: HTMLElement, status: HTMLElement, onAnswer: (answer: object) => void,
   *   onRefusal: (error: ServiceError) => boolean, pending: string}} parts While an answer
   *   is awaited `view` has the class "busy", what it marks with `data-waits` is disabled, and
   *   `pending` is said; `onRefusal` says whether it has told of the error itself.
   */
  constructor({ view, status, onAnswer, onRefusal, pending }) {
    Object.assign(this, { view, status, onAnswer, onRefusal, pending });
  }

  /** Forget the question, and the answer that is on its way. */
  cancel() {
    this.#running.abort();
    clearTimeout(this.#timer);
    this.#await(false);
  }

  #await(isAwaited) {
    clearTimeout(this.#patience);
    this.view.classList.toggle("busy", isAwaited);
    for (const part of this.view.querySelectorAll("[data-waits]")) part.disabled = isAwaited;
  }

  /**
   * Ask, a moment later where a hand is still drawing.
   * @param {string} path
   * @param {() => FormData} bodyOf May throw a ServiceError.
   * @param {boolean} isDrawn
   */
  soon(path, bodyOf, isDrawn) {
    this.cancel();
    this.#await(true);
    const delay = isDrawn ? HAND_PAUSE : 0;
    this.#timer = setTimeout(() => this.#ask(path, bodyOf), delay);
  }

  async #ask(path, bodyOf) {
    this.#running = new AbortController();
    const { signal } = this.#running;
    const words = element("p", { class: "hint pending" }, this.pending);
    this.#patience = setTimeout(() => say(this.status, words), PATIENCE);
    const onBusy = (seconds) => {
      const text = `The service is busy. Trying again in ${Math.ceil(seconds)} s…`;
      say(this.status, element("p", { class: "hint" }, text));
    };
    try {
      const answer = await ask(path, { method: "POST", body: bodyOf(), signal, onBusy });
      this.#await(false);
      this.onAnswer(answer);
    } catch (error) {
      if (signal.aborted) return;
      this.#await(false);
      if (!(error instanceof ServiceError)) throw error;
      if (!this.onRefusal(error)) this.#refuse(error, () => this.soon(path, bodyOf, false));
    }
  }

  #refuse(error, again) {
    say(this.status, element("p", { class: "error" }, complaint(error)));
    if (error.kind !== "busy") return;
    this.status.append(element("button", { type: "button", onclick: again }, "Try again"));
  }
}
