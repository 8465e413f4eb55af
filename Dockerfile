# `diarize serve` on a CPU, with the weights inside: it needs no network when it runs.
#
#   docker build -t diarize .
#   docker run --rm -p 8000:8000 -e DIARIZE_TOKEN=... -v diarize:/data diarize
#
# Whoever comes must know the token; without one it does not start. /data holds recordings and results.

FROM python:3.11-slim-bookworm AS build

# PyTorch's own index: the default one brings gigabytes of CUDA libraries.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/diarize
ENV PATH=/opt/diarize/bin:$PATH

WORKDIR /src
COPY docker/requirements.lock docker/build.lock docker/torch.txt docker/
RUN pip install --require-hashes -r docker/requirements.lock \
    && pip install --no-deps --index-url "$TORCH_INDEX" -r docker/torch.txt

# The package itself, built with tools that are locked as well, outside the environment that is kept.
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY diarize diarize
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r docker/build.lock \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation -w /dist . \
    && pip install --no-deps /dist/*.whl \
    && pip check

# The weights, checked by their sha256, and their graphs, which are converted once.
ENV DIARIZE_CACHE=/opt/weights
RUN diarize models pull campplus-zh-en segmentation-3.0 \
    && DIARIZE_OFFLINE=1 python -c "from diarize import Diarizer; Diarizer(device='cpu')"


FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin diarize \
    && install -d -o diarize -g diarize /data
COPY --from=build /opt/diarize /opt/diarize
COPY --from=build --chown=10001:10001 /opt/weights /opt/weights

ENV PATH=/opt/diarize/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DIARIZE_CACHE=/opt/weights \
    DIARIZE_OFFLINE=1 \
    DIARIZE_DATA=/data

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]

# The token comes from the environment, DIARIZE_TOKEN; more options may follow: docker run ... diarize --max-streams 40
ENTRYPOINT ["diarize", "serve", "--host", "0.0.0.0", "--port", "8000", "--require-token"]
