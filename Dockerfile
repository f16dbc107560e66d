# One image for every service: `docker run highway durable start-worker`, `… start-api`, `… start-scheduler`.
# It holds Python, the package and what it needs; no compiler, no pip cache, no embedded PostgreSQL.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/highway
COPY pyproject.toml README.md LICENSE cli.py ./
COPY highway_core ./highway_core
RUN pip --python /opt/highway/bin/python install --no-cache-dir .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/highway highway
COPY --from=build /opt/highway /opt/highway
ENV PATH=/opt/highway/bin:$PATH \
    HIGHWAY_ENV=production \
    HIGHWAY_HOME=/var/lib/highway \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/highway
EXPOSE 5000
# SIGTERM lets a worker finish what it does; give `docker stop` at least HIGHWAY_GRACE_SECONDS.
STOPSIGNAL SIGTERM
ENTRYPOINT ["highway"]
CMD ["durable", "start-worker"]
