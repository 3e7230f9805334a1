// A WebSocket by undici, Node's own, over HTTP/2: says by which protocol and how it went, a line for each event.
const { Agent, WebSocket } = require(process.argv[2]);

const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } });
const socket = new WebSocket(process.argv[3], { dispatcher, protocols: ["chat.v1"] });
socket.onopen = () => {
  console.log(`open ${socket.protocol}`);
  socket.send("hello");
};
socket.onmessage = ({ data }) => console.log(`message ${data}`);
socket.onclose = ({ code, reason, wasClean }) => {
  console.log(`close ${code} ${reason} ${wasClean}`);
  process.exit();
};
