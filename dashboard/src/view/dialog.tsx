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
  /** It can be done with force where the API refuses it without: for a deployment under way, or for a spent error budget. */
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
  /** Whether it is known what will happen: nothing is done before. */
  const [known, setKnown] = useState(false);
  const [error, setError] = useState("");
  /** What was refused and can be forced. */
  const [refused, setRefused] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const dialog = useRef<HTMLDialogElement>(null);
  /** The question that is shown: answers to one before it are for nobody any more. */
  const shown = useRef<Question | null>(null);
  useEffect(() => {
    ask = (asked) => {
      shown.current = asked;
      setQuestion(asked);
      setError("");
      setRefused(null);
      setBusy(false);
      setKnown(false);
      setMeaning(<p class="dim">Looking what that means …</p>);
      Promise.resolve(asked.meaning).then(
        (found) => {
          if (shown.current !== asked) return;
          setMeaning(found);
          setKnown(true);
        },
        (failure: unknown) => {
          if (shown.current !== asked) return;
          setMeaning(null);
          setError(failure instanceof Failure ? failure.whole : String(failure));
        },
      );
      dialog.current?.showModal();
    };
  }, []);
  const close = (): void => dialog.current?.close();
  const act = (): void => {
    const asked = question!;
    setBusy(true);
    asked.act(refused !== null).then(
      (done) => {
        setSaid(done ?? "");
        if (shown.current !== asked) return;
        setBusy(false);
        close();
      },
      (failure: unknown) => {
        const found = failure instanceof Failure ? failure : new Failure(0, String(failure));
        if (shown.current !== asked) return setSaid(found.whole);
        setBusy(false);
        setRefused(asked.forces && found.yields ? found : null);
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
            {refused && <p>{refused.deployments.length ? "With force the change takes over from the deployment that is under way." : "With force it is done although the error budget is spent."}</p>}
            <div class="buttons">
              <button type="button" onClick={close} autoFocus>
                Leave it
              </button>
              <button type="submit" class={question.danger || refused ? "danger" : "primary"} disabled={busy || !known}>
                {refused ? `${question.verb} with force` : question.verb}
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
