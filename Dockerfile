# fpbench without a GPU: docker build -t fpbench . && docker run --rm -v "$PWD/runs:/fpbench/runs" fpbench run quickstart
# With one, take a base image with CUDA, torch's build for it, and --gpus all.
FROM python:3.12-slim

# The build of torch is whatever pip finds: PIP_INDEX_URL and PIP_EXTRA_INDEX_URL choose another one,
# such as the CPU build, as pytorch.org says.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -rf /src \
    && useradd --create-home fpbench && mkdir /fpbench && chown fpbench /fpbench
USER fpbench
WORKDIR /fpbench
ENTRYPOINT ["fpbench"]
CMD ["--help"]
