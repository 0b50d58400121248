// Requests to the service: one function, one error, and what the page does when the
// service is busy, unreachable, or requires a token.

const TOKEN_KEY = "onelook-token";
const LONGEST_WAIT = 10; // seconds that a busy service may ask for
const UNREACHABLE = "No answer yet. The page asks again when the service is back.";
const PAUSE = 2000; // milliseconds between looks at a service that is gone

/**
 * What went wrong. `kind` is unreachable, token, busy or refused; `status` is HTTP's, 0
 * without an answer.
 */
export class ServiceError extends Error {
  constructor(kind, message, status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

/**
 * The service as the page sees it. Events: "unreachable"; "token" when one is needed;
 * "again" when what failed is worth asking once more; "known" when settings and model
 * have come.
 */
class Service extends EventTarget {
  settings = null; // of GET /v1/settings
  model = null; // of GET /v1/model
  isUnreachable = false;

  /** Whether the model compares drawings, and not photographs. */
  get takesDrawings() {
    return this.model?.subject === "drawing";
  }

  get token() {
    return sessionStorage.getItem(TOKEN_KEY) || "";
  }

  set token(value) {
    sessionStorage.setItem(TOKEN_KEY, value);
    this.tell("again");
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }

  async learn() {
    this.settings = await ask("v1/settings");
    if (this.settings.token_needed && !this.token) this.tell("token");
    else this.model = await ask("v1/model");
    this.tell("known");
  }

  /** Called on every failure to connect; looks again until the service is back. */
  async wait() {
    if (this.isUnreachable) return;
    this.isUnreachable = true;
    this.tell("unreachable");
    while (this.isUnreachable) {
      await pause(PAUSE);
      try {
        this.isUnreachable = !(await fetch("healthz", { cache: "no-store" })).ok;
      } catch {
        // Still unreachable.
      }
    }
    this.tell("again");
  }
}

export const service = new Service();

/**
 * The service's answer to one request.
 * @param {string} path Relative to the page, so that it works below any prefix.
 * @param {{method?: string, body?: FormData | object, signal?: AbortSignal,
 *   onBusy?: (seconds: number) => void, as?: "json" | "blob"}} options
 * @throws {ServiceError} In words for people; an aborted request throws AbortError.
 */
export async function ask(path, options = {}) {
  let response = await send(path, options);
  if (response.status === 503) {
    const asked = Number.parseFloat(response.headers.get("Retry-After")) || 1;
    const seconds = Math.min(LONGEST_WAIT, Math.max(0.2, asked));
    options.onBusy?.(seconds);
    await pause(seconds * 1000, options.signal);
    response = await send(path, options);
  }
  if (!response.ok) throw await errorOf(response);
  return options.as === "blob" ? response.blob() : response.json();
}

async function send(path, { method = "GET", body, signal }) {
  const headers = {};
  if (service.token) headers.Authorization = `Bearer ${service.token}`;
  const isForm = body instanceof FormData;
  if (body && !isForm) headers["Content-Type"] = "application/json";
  const content = body && !isForm ? JSON.stringify(body) : body;
  try {
    return await fetch(path, { method, headers, body: content, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    service.wait();
    throw new ServiceError("unreachable", UNREACHABLE);
  }
}

async function errorOf(response) {
  const { status } = response;
  const said = await response.json().then(
    (content) => String(content.error),
    () => "",
  );
  if (status === 401) {
    service.tell("token");
    return new ServiceError("token", "This needs a token: enter one above.", status);
  }
  const message = said || `The service failed with status ${status}; see its log.`;
  return new ServiceError(status === 503 ? "busy" : "refused", message, status);
}

/** Resolves after some milliseconds, or rejects when the signal aborts. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
