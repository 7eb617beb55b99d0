"""What to do about a code, wherever it is raised and its class speaks of something else: English, Chinese."""

from __future__ import annotations

FIXES = {
    "config_unreadable": (
        "Name a file that exists and that you may read, with --config; sudo may read more.",
        "请用 --config 指定一个存在且可读取的文件，或使用 sudo。",
    ),
    "config_unwritable": (
        "Run it with sudo, or name a file in a folder you may write to.",
        "请使用 sudo，或指定有写权限的目录中的文件。",
    ),
    "file_unwritable": (
        "Name a file in a folder that is there and that you may write to.",
        "请指定一个存在且有写权限的目录中的文件。",
    ),
    "output_failed": (
        "Free space where the output goes: df -h shows how much there is.",
        "请清理输出位置的磁盘空间，可用 df -h 查看。",
    ),
    "key_unusable": (
        "Name an Ed25519 key as PEM that you may read; the terminal's own keys are the service's: sudo.",
        "请指定您有权读取的 Ed25519 密钥（PEM）；终端自身的密钥属于服务用户，请使用 sudo。",
    ),
    "packet_too_large": (
        "Set the broker's maximum packet to 262144 bytes or more (mosquitto: max_packet_size).",
        "请将服务器的最大报文长度设为 262144 字节或以上（mosquitto：max_packet_size）。",
    ),
    "terminal_offline": (
        "Check broker, site and terminal as named here; on the terminal, `facepay status` tells more.",
        "请检查此处指定的 MQTT 服务器、站点和终端名；在终端上可用 facepay status 查看。",
    ),
    "id_invalid": (
        "Give the result_id as it stands in the result.",
        "请原样填写结果中的 result_id。",
    ),
    "busy": (
        "Wait for the answer to the open question, then ask again.",
        "请等待上一个请求的结果后再发起。",
    ),
    "request_malformed": (
        "Correct the request as the sentence says; its form is in docs/reference/till-contract.md.",
        "请按提示修正请求；格式见 docs/reference/till-contract.md。",
    ),
    "port_taken": (
        "End the program that listens there, or name another port.",
        "请关闭占用该端口的程序，或指定其他端口。",
    ),
    "service_failed": (
        "Look at its log above; is its port free?",
        "请查看上方日志，并确认端口未被占用。",
    ),
}
