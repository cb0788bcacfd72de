# cwts in a container: slim, without root, with a health check.
#
#   docker build -t cwts .
#   docker run --rm --init cwts                                        # paper trading on live Binance data
#   docker run --rm --init -v cwts:/data cwts run --exchange okx --symbol BTC-USDT --capital 50 --plain --metrics --record /data
#
# The health check asks the port of --metrics. `docker stop` sends SIGTERM: everything is fed, flushed and summed up.
# Real-time priority needs --cap-add SYS_NICE.

# One release for both stages, since the extension is built in one and runs in the other; a digest pins it to the byte:
# --build-arg BASE=python@sha256:…
ARG BASE=python:3.13.7-slim-bookworm

FROM ${BASE} AS build
RUN apt-get update && apt-get install --no-install-recommends --yes gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml MANIFEST.in LICENSE ./
COPY native_ext native_ext
COPY app app
RUN python -m venv /opt/cwts && /opt/cwts/bin/pip install --no-cache-dir ".[fast]"

FROM ${BASE}
RUN useradd --uid 10001 --create-home cwts && install -d -o cwts -g cwts /data
COPY --from=build /opt/cwts /opt/cwts
ENV PATH=/opt/cwts/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /data
WORKDIR /data
EXPOSE 9464
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["cwts", "health"]
ENTRYPOINT ["cwts"]
CMD ["run", "--exchange", "binance", "--symbol", "BTCUSDT", "--capital", "50", "--plain", "--metrics", "--metrics-host", "0.0.0.0"]
