"""What is measured against peers and limits: one JSON object a line for each figure.

A figure is `name`, `value` with its `unit`, `against` (the peer or limit, with its version), `ratio`, `goal` and
`holds`. Ratios come from one run on one machine, so they hold where absolutes do not.
"""
