# Cordon in a container: hash-pinned packages, no build tools, a user of its own, data in /var/lib/cordon.
#
#   docker build --tag cordon-gateway .
#   docker run --rm -p 127.0.0.1:8080:8080 -p 127.0.0.1:8081:8081 -v ./cordon.yaml:/etc/cordon/cordon.yaml:ro cordon-gateway

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/cordon
COPY requirements.lock ./
RUN /opt/cordon/bin/pip install --require-hashes --no-deps --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY lineage lineage
COPY policies policies
COPY gateway gateway
COPY detectors detectors
COPY playbooks playbooks
COPY siem siem
COPY cordon cordon
RUN /opt/cordon/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/cordon --shell /usr/sbin/nologin cordon \
    && install --directory --owner cordon --group cordon --mode 0700 /var/lib/cordon \
    && install --directory /etc/cordon
COPY --from=build /opt/cordon /opt/cordon
COPY policies/bundles/starter /etc/cordon/policies/bundles/starter
COPY deploy/container/cordon.yaml /etc/cordon/cordon.yaml
ENV PATH=/opt/cordon/bin:$PATH PYTHONUNBUFFERED=1 CORDON_CONFIG=/etc/cordon/cordon.yaml
USER cordon
WORKDIR /var/lib/cordon
VOLUME /var/lib/cordon
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/readyz', timeout=4).read()"]
CMD ["cordon", "up"]
