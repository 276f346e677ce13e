"""``eratos job``: what runs to its end, by hand or by cron."""

from __future__ import annotations

import click

from eratos.marathon.client import Refused

from .. import arguments, jobs, logs
from ..session import Session, confirm

commands = click.Group()


@commands.command("apply")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...", help="JSON or YAML: a job, or a list; - reads stdin")
@click.pass_obj
def apply_jobs(session: Session, paths: tuple[str, ...]) -> None:
    """Create jobs, or change them into what the files say. A file without schedules leaves those that there are.

    \b
    eratos job apply nightly.json
    eratos job apply jobs/*.yaml
    """
    answers = []
    for source, job in [found for path in paths for found in jobs.load(path)]:
        try:
            try:
                answers.append(session.client.put_job(job["id"], job))
            except Refused as refused:
                if refused.status != 404:
                    raise
                answers.append(session.client.create_job(job))
        except Refused as refused:
            raise Refused(refused.status, f"{source}: {refused}", refused.problems, refused.deployments) from refused
        session.out.say(f"{source}: applied {job['id']}")
    session.out.result(answers)


@commands.command("list")
@click.pass_obj
def list_jobs(session: Session) -> None:
    """List jobs: when they run, and how often they succeeded, failed, or were missed.

    \b
    eratos job list
    eratos job list -o json | jq -r '.[] | select(.historySummary.failureCount > 0).id'
    """
    found = session.client.jobs("schedules", "activeRuns", "historySummary")
    session.out.result(found, jobs.listed(found, session.out))


@commands.command("show")
@arguments.job_id
@click.pass_obj
def show_job(session: Session, job_id: str) -> None:
    """Show a job, its schedules, and the runs at work.

    \b
    eratos job show shop.backup
    eratos job show shop.backup -o yaml
    """
    found = session.client.job(job_id, "schedules", "activeRuns")
    session.out.result(found, *jobs.shown(found, session.out))


@commands.command("run")
@arguments.job_id
@click.option("--wait", "wait_", is_flag=True, help="until the run has ended; ends with 1 where it failed")
@arguments.timeout
@click.pass_obj
def run_job(session: Session, job_id: str, wait_: bool, timeout: float) -> None:
    """Start a run now, whatever the schedules say.

    \b
    eratos job run shop.backup
    eratos job run shop.backup --wait && echo well
    """
    run = session.client.start_run(job_id)
    session.out.say(f"{job_id}: started {run['id']}")
    patience = session.patience(wait_, timeout)
    if patience is not None:
        run = jobs.until_ended(session.client, job_id, str(run["id"]), patience)
    session.out.result(run, jobs.runs([run]))
    if patience is not None and run["status"] != "SUCCESS":
        raise Refused(0, f"{run['id']} failed: {run['message']}; see eratos job logs {job_id} {run['id']}")


@commands.command("stop")
@arguments.job_id
@click.argument("run_id", required=False, metavar="[RUN]", help="one run; default: all that are at work")
@click.pass_obj
def stop_runs(session: Session, job_id: str, run_id: str | None) -> None:
    """Stop runs.

    \b
    eratos job stop shop.backup
    eratos job stop shop.backup 20261128T030000Zk3x9
    """
    ids = [run_id] if run_id else [str(run["id"]) for run in session.client.job(job_id, "activeRuns")["activeRuns"]]
    if not ids:
        raise Refused(404, f"{job_id} has no run at work")
    for each in ids:
        session.client.stop_run(job_id, each)
        session.out.say(f"{job_id}: stopping {each}")
    session.out.result({"stopped": ids})


@commands.command("history")
@arguments.job_id
@click.pass_obj
def show_history(session: Session, job_id: str) -> None:
    """Show how a job's runs ended, and which instants were missed.

    \b
    eratos job history shop.backup
    eratos job history shop.backup -o json
    """
    found = session.client.job(job_id, "history")
    session.out.result(found["history"], *jobs.history(found, session.out))


@commands.command("logs")
@arguments.job_id
@click.argument("run_id", required=False, metavar="[RUN]", help="one run; default: the last one")
@arguments.reads
@click.pass_obj
def show_logs(session: Session, job_id: str, run_id: str | None, follow: bool, stderr: bool, tail: int) -> None:
    """Show what the last task of a run writes, or wrote.

    \b
    eratos job logs -f shop.backup
    eratos job logs shop.backup 20261128T030000Zk3x9 --stderr
    """
    run = session.client.run(job_id, run_id) if run_id else jobs.latest(session.client.job(job_id, "activeRuns", "history"))
    if run is None or not run["tasks"]:
        why = f": {run['message']}" if run is not None and run["message"] else ""
        raise Refused(404, f"no task of {run_id or job_id} was started{why}")
    task_id = str(run["tasks"][-1]["id"])
    found = logs.opened(session.client, [task_id], session.out.say, stderr=stderr, tail=tail, follow=follow, sleep=session.sleep)
    logs.to_their_end(session.client, found, session.out, follow=follow)


@commands.command("delete")
@arguments.job_id
@click.option("--stop", is_flag=True, help="and stop the runs at work")
@arguments.yes
@click.pass_obj
def delete_job(session: Session, job_id: str, stop: bool, yes: bool) -> None:
    """Delete a job with its history.

    \b
    eratos job delete shop.backup
    eratos job delete shop.backup --stop --yes
    """
    if not yes:
        confirm(f"Delete {job_id} with its schedules and its history?")
    answer = session.client.delete_job(job_id, stop=stop)
    session.out.say(f"{job_id}: deleted")
    session.out.result(answer)
