# The project's own images, one stage each:
#   operator   the operator; no torch, no model code
#   fetch      copies and verifies a model before Triton sees it; standard library only
#   runtime    packages, checks and benches models; torch
#
# Build:  docker build --target operator --tag slipway.dev/operator:dev .
# A base needs python3 (3.11 or later) with venv. TORCH_BASE_IMAGE may already hold torch: then pass TORCH_EXTRAS=client.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim
ARG TORCH_BASE_IMAGE=docker.io/library/python:3.13-slim

FROM ${BASE_IMAGE} AS tools
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --quiet --no-cache-dir hatchling==1.27.0

# Dependencies and sources are two layers of the image: a source change costs seconds and a few kilobytes.
# operator/requirements.lock says how it is made.
FROM tools AS operator-dependencies
COPY operator/requirements.lock /src/requirements.lock
RUN python3 -m venv --without-pip /opt/slipway \
 && /opt/build/bin/pip --python /opt/slipway/bin/python install --quiet --no-cache-dir --no-deps --requirement /src/requirements.lock

FROM operator-dependencies AS operator-build
COPY operator/ /src/operator/
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels /src/operator \
 && /opt/build/bin/pip --python /opt/slipway/bin/python install --quiet --no-deps --no-index --prefix /app /wheels/*.whl

FROM ${BASE_IMAGE} AS operator
# Some libraries ask for the user's name and home; neither exists for an arbitrary number.
RUN echo "slipway:x:65532:65532:slipway:/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "slipway:x:65532:" >>/etc/group
COPY --from=operator-dependencies /opt/slipway/ /opt/slipway/
COPY --from=operator-build /app/ /opt/slipway/
ENV PATH=/opt/slipway/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["slipway-operator"]

FROM tools AS fetch-build
RUN python3 -m venv --without-pip /opt/slipway
COPY runtime/ /src/runtime/
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels /src/runtime \
 && /opt/build/bin/pip --python /opt/slipway/bin/python install --quiet --no-deps --no-index /wheels/*.whl

FROM ${BASE_IMAGE} AS fetch
RUN echo "slipway:x:1000:1000:slipway:/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "slipway:x:1000:" >>/etc/group
COPY --from=fetch-build /opt/slipway/ /opt/slipway/
ENV PATH=/opt/slipway/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
USER 1000:1000
ENTRYPOINT ["slipway-runtime"]

FROM ${TORCH_BASE_IMAGE} AS runtime-dependencies
ARG TORCH_EXTRAS=client,torch
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --quiet --no-cache-dir hatchling==1.27.0
# The metadata alone decides the dependencies: an empty package of the same name brings them in.
COPY runtime/pyproject.toml /dependencies/pyproject.toml
RUN mkdir -p /dependencies/slipway_runtime && touch /dependencies/slipway_runtime/__init__.py \
 && python3 -m venv --without-pip --system-site-packages /opt/slipway \
 && /opt/build/bin/pip --python /opt/slipway/bin/python install --quiet --no-cache-dir "/dependencies[${TORCH_EXTRAS}]" \
 && /opt/build/bin/pip --python /opt/slipway/bin/python uninstall --quiet --yes slipway-runtime

FROM runtime-dependencies AS runtime-build
COPY runtime/ /src/runtime/
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels /src/runtime \
 && /opt/build/bin/pip --python /opt/slipway/bin/python install --quiet --no-deps --no-index --prefix /app /wheels/*.whl

FROM ${TORCH_BASE_IMAGE} AS runtime
RUN echo "slipway:x:1000:1000:slipway:/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "slipway:x:1000:" >>/etc/group
COPY --from=runtime-dependencies /opt/slipway/ /opt/slipway/
COPY --from=runtime-build /app/ /opt/slipway/
ENV PATH=/opt/slipway/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1
USER 1000:1000
ENTRYPOINT ["slipway-runtime"]
