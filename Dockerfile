# Web and worker in one container, with SQLite in the volume /data or Postgres by DATABASE_URL.
# docs/platforms.md has the lines to build and run it.
FROM python:3.11-slim

WORKDIR /app
ENV PYTHONUNBUFFERED=1 \
    DATABASE_URL=sqlite:////data/bridge.db

COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin bridge \
    && install --directory --owner bridge /data
COPY bridge bridge
COPY config config

USER bridge
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "bridge", "run"]
