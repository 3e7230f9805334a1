# frozen_string_literal: true

# The module UWSGI, as applications written for uWSGI's Ruby plugin call it (compat §7.3): names, exceptions and texts.
#
# Names of what Fairlead lacks are absent, so that `respond_to?` is right. What uWSGI refuses and Fairlead accepts: nil
# for an origin, because a client that is no browser sends none.
module UWSGI
  # uWSGI's number, for applications that compare it (compat §1.5).
  VERSION = "2.1"

  @locks = Hash.new { |locks, number| locks[number] = Thread::SizedQueue.new(1) }

  class << self
    # Set by the worker before the application is loaded.
    attr_writer :worker_id, :masterpid

    def websocket_handshake(key = "", origin = "", protocol = "")
      string(key)
      string(origin) unless origin.nil?
      string(protocol) unless protocol.nil?
      task = task_of_request
      begin
        raise Fairlead::Error if task.session

        task.session = task.request.accept(protocol.nil? || protocol.empty? ? nil : protocol)
      rescue Fairlead::Error => reason
        failure(task, "unable to complete websocket handshake", reason.is_a?(Fairlead::HandshakeRefused))
      end
      nil
    end

    # The next message, binary; text and binary messages alike.
    def websocket_recv
      task = task_of_request
      task.session&.receive || failure(task, "unable to receive websocket message")
    end

    # The same without waiting; empty when there is nothing.
    def websocket_recv_nb
      task = task_of_request
      message = task.session&.receive_nowait || failure(task, "unable to receive websocket message")
      message == :pending ? "".b : message
    end

    # One text message.
    def websocket_send(message)
      string(message)
      task = task_of_request
      task.session&.send_text(message) || failure(task, "unable to send websocket message")
      nil
    end

    def wait_fd_read(descriptor, timeout)
      waiter.watch(integer(descriptor), false, integer(timeout))
      true
    end

    def wait_fd_write(descriptor, timeout)
      waiter.watch(integer(descriptor), true, integer(timeout))
      true
    end

    # The next `suspend` ends after so many seconds; whole ones, and less than one is nothing (compat §1.4).
    def async_sleep(seconds)
      waiter.set_timeout(integer(seconds))
      true
    end

    # Begins to connect to "host:port" or the path of a UNIX socket: a descriptor to wait for, or -1.
    def async_connect(address)
      string(address)
      host, _, port = address.rpartition(":")
      place = host.empty? ? Socket.sockaddr_un(address) : Socket.sockaddr_in(port, host)
      socket = Socket.new(host.empty? ? :UNIX : Addrinfo.new(place).afamily, :STREAM)
      socket.autoclose = false
      socket.connect_nonblock(place, exception: false)
      socket.fileno
    rescue SystemCallError, SocketError, ArgumentError
      socket&.close
      -1
    end

    def suspend
      waiter.suspend
      true
    end

    def connection_fd
      task_of_request.request.fileno
    end

    def worker_id = @worker_id || 0
    def masterpid = @masterpid || 0

    # Requests that this worker has begun.
    def request_id = Fairlead::Rack.requests

    def log(text)
      Fairlead::Log.line(string(text))
      true
    end

    # Locks of this process. Whoever calls unlock frees it, as in uWSGI.
    def lock(number = 0)
      queue = @locks[integer(number)]
      begin
        queue.push(true, true)
      rescue ThreadError
        Fairlead::Task.current ? waiter.suspend : sleep(0.001)
        retry
      end
      nil
    end

    def unlock(number = 0)
      @locks[integer(number)].clear
      nil
    end

    private

    # Ruby's own check and its text.
    def string(value)
      return value if value.is_a?(String)

      raise TypeError, "wrong argument type #{value.nil? ? 'nil' : value.class} (expected String)"
    end

    def integer(value)
      return value.to_i if value.is_a?(Numeric)

      raise TypeError, "no implicit conversion of #{value.nil? ? 'nil' : value.class} into Integer"
    end

    def task_of_request
      Fairlead::Task.current or raise "you can call uwsgi api function only from the main callable"
    end

    def waiter
      task_of_request.request.waiter
    end

    # Where it is the client's doing, this is a usual end of the application and no failure of its: see Task.
    def failure(task, text, by_client = task.session&.over?)
      error = RuntimeError.new(text)
      task.farewell = error if by_client
      raise error
    end
  end
end
