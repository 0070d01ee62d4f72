"""A WebSocket inside HTTP/2 (RFC 8441), as browsers open it where a proxy offers it: enough to hear one message."""

import asyncio
import ssl

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes


class Inside:
    """One HTTP/2 connection to a proxy."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.unread = reader, writer, []
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.wire.initiate_connection()

    @classmethod
    async def open(cls, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def event(self, *kinds):
        """The next event of these kinds."""
        while True:
            while self.unread:
                if isinstance(event := self.unread.pop(0), kinds):
                    return event
            self.writer.write(self.wire.data_to_send())
            data = await asyncio.wait_for(self.reader.read(65536), 10)
            assert data, "the proxy has hung up"
            self.unread += self.wire.receive_data(data)

    async def upgrade(self, path):
        """Opens a WebSocket, and answers the status; 0 where the proxy takes none inside HTTP/2."""
        settings = await self.event(h2.events.RemoteSettingsChanged)
        offered = settings.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
        if not offered or offered.new_value != 1:
            return 0
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "localhost")]
        self.wire.send_headers(1, [*head, (":path", path), ("sec-websocket-version", "13")])
        answer = await self.event(h2.events.ResponseReceived)
        return int(dict(answer.headers)[":status"])

    async def frame(self):
        """A short text frame of the gateway's."""
        data = (await self.event(h2.events.DataReceived)).data
        assert data[0] == 0x81 and data[1] == len(data) - 2, data
        return data[2:].decode()
