// Drawing with mouse, pen or finger: black strokes on white, undone one by one.

const SIDE = 560; // pixels of the picture, whatever the canvas measures on screen
const PEN = 26; // as thick for its sheet as Omniglot's pen, which is 5 of 105 pixels

export class Drawing {
  #strokes = []; // each a list of [x, y] in pixels of the picture
  #current = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange After each whole stroke, undo and clear.
   */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    canvas.width = canvas.height = SIDE;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.#end(event));
    }
    this.#paint();
  }

  get isEmpty() {
    return this.#strokes.length === 0;
  }

  undo() {
    this.#strokes.pop();
    this.#changed();
  }

  clear() {
    this.#strokes = [];
    this.#changed();
  }

  /** The drawing as a PNG file. */
  toFile() {
    return new Promise((resolve) => {
      this.canvas.toBlob((blob) =>
        resolve(new File([blob], "drawing.png", { type: blob.type })),
      );
    });
  }

  #begin(event) {
    // A second finger is a palm or a pinch, no stroke.
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.#current = { pointer: event.pointerId, points: [this.#place(event)] };
    this.#strokes.push(this.#current.points);
    this.#paint();
  }

  #move(event) {
    if (event.pointerId !== this.#current?.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      this.#current.points.push(this.#place(each));
    }
    this.#paint();
  }

  #end(event) {
    if (event.pointerId !== this.#current?.pointer) return;
    this.#current = null;
    this.onChange();
  }

  #changed() {
    this.#current = null;
    this.#paint();
    this.onChange();
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * SIDE,
      ((event.clientY - box.top) / box.height) * SIDE,
    ];
  }

  #paint() {
    const pen = this.canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, SIDE, SIDE);
    pen.strokeStyle = "#000";
    pen.lineWidth = PEN;
    pen.lineCap = pen.lineJoin = "round";
    for (const points of this.#strokes) {
      pen.beginPath();
      pen.moveTo(...points[0]);
      // Curves through the midpoints: hands draw no corners, sampling does.
      for (let i = 1; i < points.length - 1; i++) {
        const [x, y] = points[i];
        const [nextX, nextY] = points[i + 1];
        pen.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
      }
      pen.lineTo(...points.at(-1)); // a tap is a line to itself: a dot
      pen.stroke();
    }
  }
}
