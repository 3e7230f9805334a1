# frozen_string_literal: true

module Fairlead
  # A request: what was asked, and the calls that answer. It belongs to one task; waiting is the waiter's business, which
  # blocks the thread or suspends the fiber (threads.rb and fibers.rb have one each).
  class Request
    # Bytes of a body that one call takes.
    PIECE_BYTES = 65_536

    attr_reader :handle, :waiter

    def initialize(handle, waiter)
      @handle = handle
      @waiter = waiter
    end

    def scheme
      Library.fl_request_scheme(@handle).to_s
    end

    # Peer and target, as the log names them.
    def label
      Library.fl_request_label(@handle)
    end

    # Yields the name and the value of each CGI variable (RFC 3875 §4.1), binary Strings.
    def each_variable
      pair = FFI::MemoryPointer.new(Library::Bytes.size, 2)
      value = pair + Library::Bytes.size
      index = 0
      while Library.fl_request_variable(@handle, index, pair, value) == Library::OK
        yield pair.get_pointer(0).read_bytes(pair.get_uint64(8)), value.get_pointer(0).read_bytes(value.get_uint64(8))
        index += 1
      end
    end

    # The next bytes of the body, nil at its end. Raises Error when it broke off.
    def read_body
      @piece ||= FFI::MemoryPointer.new(PIECE_BYTES)
      size = FFI::MemoryPointer.new(:size_t)
      loop do
        case Library.check(Library.fl_request_read_body(@handle, @piece, PIECE_BYTES, size))
        when Library::OK then return @piece.read_bytes(size.read(:size_t))
        when Library::END_REACHED then return nil
        end
        @waiter.wait_body(self)
      end
    end

    # A whole response in one call. headers: pairs of Strings. Raises Error.
    def respond(status, headers, body)
      with_headers(headers) do |pairs, count|
        Library.check(Library.fl_request_respond(@handle, status, nil, pairs, count, body, body.bytesize))
      end
    end

    # The same in pieces: start, write, finish or abort.
    def start(status, headers)
      with_headers(headers) do |pairs, count|
        Library.check(Library.fl_request_start(@handle, status, nil, pairs, count))
      end
    end

    # Waits for room first. Raises Error when the client is gone.
    def write(piece)
      return if piece.empty?

      @waiter.wait_writable(self)
      Library.check(Library.fl_request_write(@handle, piece, piece.bytesize))
    end

    def finish
      Library.check(Library.fl_request_finish(@handle))
    end

    # Cuts the connection, so that the client knows that something is missing.
    def abort(why)
      Library.fl_request_abort(@handle, why)
    end

    # Completes the handshake: a Session. Without a protocol the client's first one is agreed on (compat §2.5, row 14).
    # Raises HandshakeRefused, after which nothing is to be answered, or Error.
    def accept(protocol)
      slot = FFI::MemoryPointer.new(:pointer)
      protocol ||= Library.fl_request_subprotocol(@handle, 0)
      status = Library.fl_request_accept(@handle, protocol, slot)
      if [Library::ERR_HANDSHAKE, Library::ERR_ORIGIN].include?(status)
        raise HandshakeRefused, Library.fl_last_error
      end

      Library.check(status)
      Session.new(slot.read_pointer, @waiter)
    end

    # Whether the client has gone.
    def gone?
      Library.fl_request_is_gone(@handle) == 1
    end

    # Polls readable while there is a message to receive.
    def fileno
      Library.fl_request_fileno(@handle)
    end

    # The end of the task: a WebSocket that is open is closed with code.
    def release(code)
      Library.fl_request_release(@handle, code, nil)
    end

    # The last call. A request that was not answered gets 500.
    def free
      Library.fl_request_free(@handle)
    end

    private

    # All texts lie in one block and all pairs of addresses in another: two allocations, whatever the number of headers.
    def with_headers(headers)
      text = +"".b
      offsets = headers.flat_map do |name, value|
        # The library reads up to a NUL, so what stands behind one would be lost without a word.
        raise Error, "the header #{name.inspect} has a NUL in it: #{value.inspect}" if "#{name}#{value}".include?("\0")

        name_at = text.bytesize
        text << name.b << "\0"
        value_at = text.bytesize
        text << value.b << "\0"
        [name_at, value_at]
      end
      return yield nil, 0 if offsets.empty?

      texts = FFI::MemoryPointer.new(text.bytesize).put_bytes(0, text)
      base = texts.address
      pairs = FFI::MemoryPointer.new(:pointer, offsets.size)
      pairs.put_bytes(0, offsets.map { |offset| base + offset }.pack("J*"))
      status = yield pairs, headers.size
      texts.free
      status
    end
  end
end
