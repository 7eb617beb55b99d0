"""The naive peer, as a first version looks: every full frame through dlib's HOG detector; each frame with a
face goes out whole, in a new connection; each answer goes to the till by a new MQTT client.

A process of its own: ``python -m tests.bench.naive BROKER_PORT API_URL SECONDS`` prints one JSON line.
"""

from __future__ import annotations

import json
import sys

import cv2
import dlib
import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.idle import cpu_s
from tests.bench.visits import frames

TOPIC = "naive/result"


def send(picture: bytes, url: str) -> float:
    answer = httpx.post(url, files={"imageA": ("frame.jpg", picture, "image/jpeg")}, timeout=10)
    return float(answer.json()["data"]["similarity"])


def publish(port: int, similarity: float) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish(TOPIC, json.dumps({"match": similarity >= 80}), qos=1).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def main(port: int, url: str, seconds: float) -> None:
    pictures = frames(seconds)
    detector = dlib.get_frontal_face_detector()
    began, calls = cpu_s(), 0
    for picture in pictures:  # every frame, at whatever speed it goes: the CPU is what counts
        if detector(picture[:, :, ::-1].copy(), 0):
            _, encoded = cv2.imencode(".jpg", picture)
            publish(port, send(encoded.tobytes(), url))
            calls += 1
    print(json.dumps({"cpu_s": cpu_s() - began, "calls": calls, "frames": len(pictures)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
