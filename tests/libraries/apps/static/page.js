// One WebSocket for each of the page's two views, each with a log of its own.
for (const log of document.querySelectorAll("[data-socket]")) {
  const socket = new WebSocket(new URL(log.dataset.socket, location.href.replace(/^http/, "ws")));
  socket.onmessage = (event) => { log.textContent += event.data + "\n"; };
  socket.onclose = (event) => { log.textContent += "closed with " + event.code + "\n"; };
  document.querySelector("#say").addEventListener("submit", (event) => {
    event.preventDefault();
    socket.send(event.target.words.value);
  });
}
