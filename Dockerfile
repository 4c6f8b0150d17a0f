# Tripline: `standalone`, `worker`, `console` and the rest of the command line, as one image.
# `make image-steps` runs the RUN steps below in an empty folder, without a container engine.
ARG PYTHON=python:3.11.13-slim-bookworm

FROM ${PYTHON} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements requirements
# Every package is pinned with its hashes; nothing is resolved here.
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes --no-deps -r requirements/build.txt
RUN python -m venv /opt/tripline && /opt/tripline/bin/pip install --require-hashes --no-deps -r requirements/runtime.txt
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation -w /opt/wheel . ./tripline_client
RUN /opt/tripline/bin/pip install --no-deps --no-index /opt/wheel/*.whl && /opt/tripline/bin/tripline --version

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Tripline" \
      org.opencontainers.image.description="Live guardrails for AI agents that act in a CRM, and live risk on every open deal." \
      org.opencontainers.image.licenses="Apache-2.0"
# A user without rights; its folders take volumes: the standalone server's data, and a token for Prometheus.
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/tripline tripline \
 && mkdir -p /var/lib/tripline /run/tripline \
 && chown tripline:tripline /var/lib/tripline /run/tripline
COPY --from=build /opt/tripline /opt/tripline
ENV PATH=/opt/tripline/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HEALTH_URL=http://127.0.0.1:8787/healthz
WORKDIR /var/lib/tripline
USER 10001
EXPOSE 8787 8788
# Workers answer at 8788: give them another HEALTH_URL. Commands that end have no health.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["tripline"]
CMD ["--help"]
