// Sends a question once the pictures stop changing; only the newest is answered.

import { ServiceError, ask } from "./api.js";
import { element, say } from "./elements.js";
import { complaint } from "./words.js";

const HAND_PAUSE = 500; // milliseconds after a stroke, since another may follow

export class Asker {
  #running = new AbortController();
  #timer = 0;

  /**
   * @param {{view: HTMLElement, status: HTMLElement, onAnswer: (answer: object) => void,
   *   onRefusal: (error: ServiceError) => boolean}} parts `view` has the class "busy" while
   *   an answer is awaited; `onRefusal` says whether it has told of the error itself.
   */
  constructor({ view, status, onAnswer, onRefusal }) {
    Object.assign(this, { view, status, onAnswer, onRefusal });
  }

  /** Forget the question, and the answer that is on its way. */
  cancel() {
    this.#running.abort();
    clearTimeout(this.#timer);
    this.view.classList.remove("busy");
  }

  /**
   * Ask, a moment later where a hand is still drawing.
   * @param {string} path
   * @param {() => FormData} bodyOf May throw a ServiceError.
   * @param {boolean} isDrawn
   */
  soon(path, bodyOf, isDrawn) {
    this.cancel();
    this.view.classList.add("busy");
    const delay = isDrawn ? HAND_PAUSE : 0;
    this.#timer = setTimeout(() => this.#ask(path, bodyOf), delay);
  }

  async #ask(path, bodyOf) {
    this.#running = new AbortController();
    const { signal } = this.#running;
    const onBusy = (seconds) => {
      const text = `The service is busy. Trying again in ${Math.ceil(seconds)} s…`;
      say(this.status, element("p", { class: "hint" }, text));
    };
    try {
      this.onAnswer(await ask(path, { method: "POST", body: bodyOf(), signal, onBusy }));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      if (!this.onRefusal(error)) this.#refuse(error, () => this.soon(path, bodyOf, false));
    } finally {
      if (!signal.aborted) this.view.classList.remove("busy");
    }
  }

  #refuse(error, again) {
    say(this.status, element("p", { class: "error" }, complaint(error)));
    if (error.kind !== "busy") return;
    this.status.append(element("button", { type: "button", onclick: again }, "Try again"));
  }
}
