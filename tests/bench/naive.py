"""The naive implementation, as a typical first version: every full frame goes through dlib's HOG detector.

Each frame with a face is sent complete in a new connection; each answer is published by a new MQTT client.
A separate process: ``python -m tests.bench.naive PORT API_URL START_S SECONDS`` prints one JSON line.
"""

from __future__ import annotations

import json
import sys

import cv2
import dlib
import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.cost import cpu_s
from tests.bench.frames import DrawnScene, Pixels
from tests.bench.scene import EMPTY_S, FPS, SCENE

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


def replay_alone(start_s: float, seconds: float) -> float:
    """CPU seconds for taking the images and discarding them."""
    with DrawnScene(SCENE, start_s, seconds, FPS) as drawing:
        drawing.take()
        start_cpu_s = cpu_s()
        for _ in range(round(seconds * FPS)):
            drawing.take()
        return cpu_s() - start_cpu_s


def main(port: int, url: str, start_s: float, seconds: float) -> None:
    replay_s = replay_alone(start_s, seconds)
    find = dlib.get_frontal_face_detector()
    calls_at_s, empty_s = list[float](), 0.0

    def process_image(picture: Pixels, at_s: float) -> None:
        if find(picture[:, :, ::-1].copy(), 0):
            _, encoded = cv2.imencode(".jpg", picture)
            publish(port, send(encoded.tobytes(), url))
            calls_at_s.append(at_s)

    with DrawnScene(SCENE, start_s, seconds, FPS) as drawing:
        process_image(drawing.take(), start_s)  # not measured: warm-up
        start_cpu_s, frames = cpu_s(), round(seconds * FPS)
        for number in range(1, frames):  # every frame, at any speed: only the CPU is measured
            at_s = start_s + number / FPS
            process_image(drawing.take(), at_s)
            if at_s <= EMPTY_S:
                empty_s = cpu_s() - start_cpu_s
        report = {
            "cpu_s": cpu_s() - start_cpu_s,
            "empty_cpu_s": empty_s,
            "replay_s": replay_s,
            "frames": frames,
        }
    print(json.dumps(report | {"calls_at_s": calls_at_s}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
