# The exporter in a container; deploy/container/README.md says how to build, run and pin it.
#
# The tag names the patch level, and may still be built anew with newer system packages. To pin every byte, look its
# digest up with `docker buildx imagetools inspect` and give it: --build-arg BASE=python:3.13.16-slim-trixie@sha256:…
ARG BASE=python:3.13.16-slim-trixie
# For the stage simulated-history alone.
ARG PROMETHEUS=prom/prometheus:v3.13.4

FROM ${BASE} AS build
# pip keeps no cache and takes nothing but wheels: there is no compiler here.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY deploy/container/requirements.lock deploy/container/build.lock ./
# Two environments without pip in them: one to ship, one to make the project's own wheel in.
RUN python -m venv --without-pip /opt/openai-usage-exporter \
 && python -m pip --python /opt/openai-usage-exporter/bin/python install --no-compile --require-hashes \
      --requirement requirements.lock \
 && python -m venv --without-pip /build/backend \
 && python -m pip --python /build/backend/bin/python install --no-compile --require-hashes --requirement build.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN python -m pip --python /build/backend/bin/python wheel --no-build-isolation --no-deps --wheel-dir dist . \
 && python -m pip --python /opt/openai-usage-exporter/bin/python install --no-compile --no-deps --no-index \
      --find-links dist openai-usage-exporter
# Bytecode of what runs, the standard library's too: the base image has none, and a read-only root cannot keep any.
# It stands in a folder of its own, so that nothing of the base image is copied again.
RUN export PYTHONPYCACHEPREFIX=/opt/bytecode \
 && python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/(site-packages|tests?|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/openai-usage-exporter/lib
# The state's folder, as an empty volume takes it over; and a file that can be read, whatever it was in the context.
COPY deploy/container/exporter.yml ./
RUN install --directory --mode=0700 /state \
 && install -D --mode=0644 --target-directory=/configuration exporter.yml

FROM ${BASE} AS exporter
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="openai-usage-exporter" \
      org.opencontainers.image.description="Prometheus exporter for OpenAI's organization usage and costs APIs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/bytecode /opt/bytecode
COPY --from=build /opt/openai-usage-exporter /opt/openai-usage-exporter
COPY --from=build --chown=65532:65532 /state /var/lib/openai-usage-exporter
# Empty: every key has a default. Mount another one in its place.
COPY --from=build /configuration /etc/openai-usage-exporter
# Temporary files, of SQLite and of the command `demo`, go where the only writable folder is.
ENV OPENAI_USAGE_EXPORTER_REVISION=${REVISION} \
    PATH=/opt/openai-usage-exporter/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/bytecode \
    PYTHONUNBUFFERED=1 \
    TMPDIR=/var/lib/openai-usage-exporter
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/openai-usage-exporter
VOLUME ["/var/lib/openai-usage-exporter"]
EXPOSE 10185
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["openai-usage-exporter", "check-health"]
ENTRYPOINT ["openai-usage-exporter"]
CMD ["--config.file=/etc/openai-usage-exporter/exporter.yml", \
     "--storage.path=/var/lib/openai-usage-exporter", \
     "--web.listen-address=:10185"]

# With Prometheus' programs, for deploy/compose/compose.simulated.yaml: it fills a volume with a past. Whoever builds
# without --target does not get it, and BuildKit does not even build it.
FROM ${PROMETHEUS} AS prometheus

FROM exporter AS simulated-history
COPY --from=prometheus /bin/prometheus /bin/promtool /usr/local/bin/
COPY --from=build --chown=65532:65532 /state /prometheus

# What a build without --target makes.
FROM exporter
