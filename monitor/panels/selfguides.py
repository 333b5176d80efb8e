"""Guides to the alerts about the monitor itself, which Prometheus raises."""

from __future__ import annotations

from monitor.panels.guides import Guide

_BLIND = "Nobody is told of what happens meanwhile. Senders keep their frames, and what is kept is taken in later."
_DOCTOR = "Run `monitor doctor`: it says what is well, what is not, and what to do."

SELF_GUIDES = (
    Guide(
        "monitor-alert",
        "A rule of the contract fires",
        "The daemon decided that a rule is broken, or opened an incident; Prometheus only passes it on.",
        "What the rule's own page says.",
        (
            "Read the alert on the overview: place, since when, how sure, what to do first.",
            "Open the page of the rule: it is called as the label `rule` says.",
        ),
        ("As that page says.", "`monitor alerts ack` tells others that you are at it."),
        ("alerts", "incidents", "alerts-told"),
    ),
    Guide(
        "monitor-down",
        "The monitor is not scraped",
        "Prometheus gets no page from the daemon, or does not know of it.",
        _BLIND,
        (
            "Does the daemon run? Look at its service or container, then at its log.",
            "Does Prometheus reach it? Look at its list of targets.",
        ),
        ("Start it; it takes up where it stopped and tells nothing twice.",),
        ("database-up", "figures-age"),
    ),
    Guide(
        "monitor-database-away",
        "The database does not answer",
        "The daemon runs and cannot reach its database.",
        _BLIND,
        (_DOCTOR, "Is the server up, is its disk full, has the password changed?"),
        ("Bring it back; the daemon finds it by itself.",),
        ("database-up", "disk"),
    ),
    Guide(
        "monitor-figures-old",
        "The figures are old",
        "The daemon has not read its own figures for minutes: what Prometheus sees is a picture of then.",
        "Alerts that Prometheus passes on may be late.",
        (_DOCTOR, "A slow database, or one that others hold locked?"),
        ("Find what holds the database up.",),
        ("figures-age", "database-up"),
    ),
    Guide(
        "monitor-job-late",
        "A job is late",
        "A job has had no good run for more than three of its turns.",
        "What that job does is left undone, and what feeds on it too.",
        (_DOCTOR, "The label `exported_job` names the job."),
        ("Mend what its error names; it catches up by itself.",),
        ("job-age", "job-failures"),
    ),
    Guide(
        "monitor-job-failing",
        "A job fails again and again",
        "A job has failed at least three times in 15 minutes.",
        "What that job does is left undone.",
        (_DOCTOR, "Read its last error in the log."),
        ("Mend what the error names.",),
        ("job-failures", "job-age"),
    ),
    Guide(
        "monitor-intake-silent",
        "Nothing comes in",
        "No batch has been taken in for six hours.",
        "Either the plant stands still, or everything on the dashboards is about the past.",
        ("Does the plant run?", "Look into the incoming folder and at the senders."),
        ("Bring the sender back; what it kept is taken in later.",),
        ("last-batch", "sources", "lines"),
    ),
    Guide(
        "monitor-lines-rejected",
        "Lines are set aside",
        "More than one line in twenty was rejected within the last hour.",
        "Those frames count nowhere until they are mended and replayed.",
        ("`monitor rejects list` names the reasons, `show` the lines.",),
        ("Mend the sender or the contract, then `monitor rejects replay`.",),
        ("set-aside", "lines", "sources"),
    ),
    Guide(
        "monitor-disk-low",
        "The disk is filling up",
        "Less than twice the reserve is free on the database's disk.",
        "Below the reserve nothing is taken in, so that what is stored stays safe.",
        ("What else fills that disk?",),
        ("`monitor retention run`.", "Make room, or shorten [retention]."),
        ("disk",),
    ),
    Guide(
        "monitor-series-dropped",
        "Series are dropped",
        "The metrics page is longer than its budget.",
        "Some scores and alerts are not on the page, so Prometheus passes them on no more.",
        ("Which rules go by class and camera?",),
        ("Fewer rules by class and camera, or a larger budget.",),
        ("series-budget",),
    ),
    Guide(
        "monitor-http-errors",
        "The daemon answers with errors",
        "At least five answers of 5xx within 15 minutes.",
        "Senders must try again; pages may be missing.",
        (_DOCTOR, "Read the log at that time."),
        ("Mend what the log names.",),
        ("http-answers", "database-up"),
    ),
    Guide(
        "monitor-metric-missing",
        "A family of figures is missing",
        "The page is scraped, but a family that is always there is not on it.",
        "Rules over that family can no longer fire, and dashboards of it are empty.",
        ("The label `family` names it.", "Has the daemon been updated, or does it read nothing since its start?"),
        ("Restart the daemon, or update these rules together with it.",),
        ("database-up", "series-budget"),
    ),
    Guide(
        "watchdog",
        "Watchdog",
        "This alert fires always: it shows that the way from Prometheus to people works.",
        "None while it fires. Whoever receives it must raise an alarm when it stops.",
        ("It stopped? Prometheus or Alertmanager is down, or the receiver cannot be reached.",),
        ("Bring the part that is down back.",),
        ("database-up",),
    ),
)
