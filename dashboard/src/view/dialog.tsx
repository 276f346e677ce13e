/** What is asked before something is done: what will happen, in words, and a button that names it. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Failure } from "../api.ts";
import { Sentence } from "./parts.tsx";

export interface Question {
  title: string;
  /** What will happen; a promise is a preview that is on its way. */
  meaning: ComponentChildren | Promise<ComponentChildren>;
  /** What the button says: a verb. */
  verb: string;
  danger?: boolean;
  act: (force: boolean) => Promise<string | void>;
  /** A locked app is changed all the same. */
  forces?: boolean;
}

let ask: (question: Question) => void = () => {};

/** Opens the dialog. */
export function confirm(question: Question): void {
  ask(question);
}

export function Confirmations(): JSX.Element {
  const [question, setQuestion] = useState<Question | null>(null);
  const [meaning, setMeaning] = useState<ComponentChildren>(null);
  const [error, setError] = useState("");
  const [locked, setLocked] = useState(false);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    ask = (asked) => {
      setQuestion(asked);
      setError("");
      setLocked(false);
      setMeaning(<p class="dim">Looking what that means …</p>);
      Promise.resolve(asked.meaning).then(setMeaning, (failure: unknown) => {
        setMeaning(null);
        setError(failure instanceof Failure ? failure.whole : String(failure));
      });
      dialog.current?.showModal();
    };
  }, []);
  const close = (): void => dialog.current?.close();
  const act = (): void => {
    setBusy(true);
    question!.act(locked).then(
      (done) => {
        setBusy(false);
        setSaid(done ?? "");
        close();
      },
      (failure: unknown) => {
        setBusy(false);
        const found = failure instanceof Failure ? failure : new Failure(0, String(failure));
        setLocked(found.status === 409 && question!.forces === true && found.deployments.length > 0);
        setError(found.whole);
      },
    );
  };
  return (
    <>
      <dialog ref={dialog} class="confirm" aria-labelledby="question">
        {question && (
          <form method="dialog" onSubmit={(event) => (event.preventDefault(), act())}>
            <h2 id="question">{question.title}</h2>
            <div class="meaning" aria-live="polite">
              {meaning}
            </div>
            {error && <Sentence tone="bad">{error}</Sentence>}
            {locked && <p>With force the change takes over from the deployment that is under way.</p>}
            <div class="buttons">
              <button type="button" onClick={close} autoFocus>
                Leave it
              </button>
              <button type="submit" class={question.danger || locked ? "danger" : "primary"} disabled={busy}>
                {locked ? `${question.verb} with force` : question.verb}
              </button>
            </div>
          </form>
        )}
      </dialog>
      <div class="toast" role="status">
        {said && (
          <div>
            {said}
            <button type="button" class="quiet" onClick={() => setSaid("")} aria-label="Put this message away">
              ✕
            </button>
          </div>
        )}
      </div>
    </>
  );
}
