"""The monitor itself: does it take records in, do its work, and could it tell if something were wrong?"""

from __future__ import annotations

from monitor.panels.observable import Board, Observable, Query

_RATE = "$__rate_interval"

OBSERVABLES = (
    Observable(
        name="database-up",
        title="Database",
        question="Does the database answer?",
        good="1.",
        bad="0: nothing is stored, measured or told until it is back; senders keep their records.",
        next_steps=("Run `monitor doctor`.", "See that the server runs and that its disk has room."),
        queries=(Query("min(monitor_database_up)", "prometheus", "answers"),),
        unit="short",
        no_value="The daemon's figures are not scraped.",
        kind="stat",
        owner="on-call",
        width=6,
        height=5,
    ),
    Observable(
        name="last-batch",
        title="Since the last batch",
        question="How long ago did records come in?",
        good="shorter than the pause that the plant's schedule explains.",
        bad="longer: senders are silent, or their files do not reach the folder.",
        next_steps=("Look into the incoming folder and at the senders' logs.", "Run `monitor doctor`."),
        queries=(Query("time() - max(monitor_last_batch_timestamp_seconds)", "prometheus", "ago"),),
        unit="s",
        no_value="No batch has ever come in.",
        kind="stat",
        owner="on-call",
        width=6,
        height=5,
    ),
    Observable(
        name="figures-age",
        title="Age of the figures",
        question="Are these figures fresh?",
        good="under a minute or two.",
        bad="minutes: the daemon cannot read its database, and what is shown is old.",
        next_steps=("Look at the database's panel.", "Run `monitor doctor`."),
        queries=(Query("time() - max(monitor_refreshed_timestamp_seconds)", "prometheus", "old"),),
        unit="s",
        no_value="The daemon's figures are not scraped.",
        kind="stat",
        owner="on-call",
        width=6,
        height=5,
    ),
    Observable(
        name="alerts-open",
        title="Alerts firing",
        question="How many alerts are firing, by severity?",
        good="none.",
        bad="any: the overview says which.",
        next_steps=("Open the overview and read the sentence of each alert.",),
        queries=(Query("sum by (severity) (monitor_alerts_open)", "prometheus", "{{severity}}"),),
        unit="short",
        no_value="The daemon's figures are not scraped.",
        kind="stat",
        owner="on-call",
        width=6,
        height=5,
        series=3,
    ),
    Observable(
        name="job-age",
        title="Jobs: turns since the last success",
        question="Does every job run when it should?",
        good="every line under two turns.",
        bad="a line that climbs: that job fails or hangs.",
        next_steps=("Run `monitor doctor`: it names late jobs and their last error.", "Read the daemon's log."),
        queries=(
            Query(
                "topk(12, (time() - monitor_job_last_success_timestamp_seconds) / monitor_job_interval_seconds)",
                "prometheus",
                "{{exported_job}}",
            ),
        ),
        unit="short",
        no_value="The daemon's figures are not scraped.",
        owner="on-call",
        series=12,
    ),
    Observable(
        name="job-failures",
        title="Jobs that failed",
        question="Which job fails, and how often?",
        good="no line above zero.",
        bad="a line above zero: what that job does is left undone until it succeeds.",
        next_steps=("Run `monitor doctor` for the error.", "Read the daemon's log at that time."),
        queries=(
            Query(
                f'topk(12, sum by (exported_job) (increase(monitor_job_runs_total{{state="failed"}}[{_RATE}])))',
                "prometheus",
                "{{exported_job}}",
            ),
        ),
        unit="short",
        no_value="No job has failed since the daemon started.",
        owner="on-call",
        series=12,
    ),
    Observable(
        name="lines",
        title="Lines taken in",
        question="How much comes in, and how much of it is set aside?",
        good="stored as usual; few duplicates; hardly any rejected.",
        bad="rejected lines: somebody sends what the contract does not allow.",
        next_steps=("Run `monitor rejects list` for the reasons.", "Mend the sender or the contract, then replay."),
        queries=(
            Query(f"sum(rate(monitor_lines_stored_total[{_RATE}]))", "prometheus", "stored"),
            Query(f"sum(rate(monitor_lines_duplicate_total[{_RATE}]))", "prometheus", "duplicate", ref="B"),
            Query(f"sum(rate(monitor_lines_rejected_total[{_RATE}]))", "prometheus", "rejected", ref="C"),
        ),
        unit="cps",
        no_value="The daemon's figures are not scraped.",
        series=3,
    ),
    Observable(
        name="set-aside",
        title="Set aside, by reason",
        question="Why are lines or detections set aside?",
        good="no line above zero.",
        bad="a reason that goes on: a sender writes what the contract does not allow.",
        next_steps=(
            "Run `monitor rejects list` and mend the sender or the contract.",
            "Then replay what was rejected.",
        ),
        queries=(
            Query(
                f"topk(12, sum by (reason) (increase(monitor_set_aside_total[{_RATE}])))", "prometheus", "{{reason}}"
            ),
        ),
        unit="short",
        no_value="Nothing has been set aside.",
        series=12,
    ),
    Observable(
        name="http-answers",
        title="Answers over HTTP, by status",
        question="Do those who send and ask get answers?",
        good="2xx, and 4xx only while a sender is being set up.",
        bad="5xx: the daemon or its database is in trouble; 401 and 403: a token has expired or was revoked.",
        next_steps=("5xx: look at the database's panel.", "401, 403: run `monitor tokens list`."),
        queries=(
            Query(
                f"topk(12, sum by (status) (rate(monitor_http_answers_total[{_RATE}])))", "prometheus", "{{status}}"
            ),
        ),
        unit="reqps",
        no_value="Nobody has asked since the daemon started.",
        series=12,
    ),
    Observable(
        name="series-budget",
        title="Series on the metrics page",
        question="Does the metrics page fit its budget?",
        good="nothing dropped.",
        bad="dropped above zero: some alerts or scores are not on the page.",
        next_steps=("Reduce rules by class and camera, or raise the budget.",),
        queries=(
            Query("max(monitor_series)", "prometheus", "shown"),
            Query("max(monitor_series_dropped)", "prometheus", "dropped", ref="B"),
        ),
        unit="short",
        no_value="The daemon's figures are not scraped.",
        series=2,
    ),
    Observable(
        name="disk",
        title="Room on the disk",
        question="How long until the disk is full?",
        good="far above the reserve.",
        bad="near the reserve: below it nothing is taken in, so that what is stored stays safe.",
        next_steps=("Run `monitor retention run`.", "Make room on the disk, or shorten [retention] in the contract."),
        queries=(
            Query("min(monitor_disk_free_bytes)", "prometheus", "free"),
            Query("max(monitor_disk_reserve_bytes)", "prometheus", "reserve", ref="B"),
        ),
        unit="bytes",
        no_value="The database is a server of its own; watch its disk there.",
        owner="on-call",
        series=2,
    ),
    Observable(
        name="sources",
        title="Intake by source",
        question="Who sends, and what became of it?",
        good="every sender recent, few lines rejected. Lines = stored + duplicate + blank + rejected.",
        bad="a sender whose last batch is long ago, or whose lines are rejected.",
        next_steps=("Look at that sender.", "Run `monitor rejects list`."),
        queries=(
            Query(
                "SELECT source, sum(count) FILTER (WHERE outcome = 'stored') AS stored,"
                " sum(count) FILTER (WHERE outcome = 'duplicate') AS duplicate,"
                " sum(count - mended) FILTER (WHERE outcome = 'rejected') AS rejected,"
                " sum(count) FILTER (WHERE outcome = 'blank') AS blank, max(last_at) AS \"last batch\""
                " FROM reporting.intake WHERE last_at <= $__timeTo() GROUP BY 1 ORDER BY 6 DESC, 1 LIMIT 30"
            ),
        ),
        unit="short",
        no_value="Nothing has come in yet.",
        kind="table",
    ),
    Observable(
        name="deliveries",
        title="Messages",
        question="Do alerts reach people?",
        good="all sent, none given up, none waiting for long.",
        bad="given up or waiting: people are not told. Another channel must take over.",
        next_steps=("Run `monitor alerts test` to try the channel.", "Look at the receiver, then at its address."),
        queries=(
            Query(
                "SELECT channel, count(*) FILTER (WHERE sent_at IS NOT NULL) AS sent,"
                " count(*) FILTER (WHERE sent_at IS NULL AND given_up_at IS NULL) AS waiting,"
                ' count(*) FILTER (WHERE given_up_at IS NOT NULL) AS "given up", max(sent_at) AS "last sent"'
                " FROM reporting.delivery WHERE not_before >= $__timeFrom() GROUP BY 1 ORDER BY 4 DESC, 1 LIMIT 20"
            ),
        ),
        unit="short",
        no_value="No message was due in this time range.",
        kind="table",
        owner="on-call",
    ),
)
BOARD = Board(
    "monitor-self",
    "The monitor itself",
    "Does the monitor take records in, do its work, and tell people?",
    OBSERVABLES,
)
