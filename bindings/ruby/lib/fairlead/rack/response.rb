# frozen_string_literal: true

module Fairlead
  class Rack
    # An application's answer, sent. Nothing goes out before the body's first piece, so that a body may still make the
    # handshake of a WebSocket (compat §1.3).
    class Response
      # Bytes of a file that are read at once.
      FILE_BYTES = 65_536

      # The other side of a streaming body of Rack 3: an object with IO's calls on the request's body and its response.
      class Stream
        def initialize(response, input)
          @response = response
          @input = input
          @closed = false
        end

        def read(...) = @input.read(...)

        def write(*pieces)
          raise IOError, "closed stream" if @closed

          pieces.sum do |piece|
            piece = piece.to_s
            @response.write(piece)
            piece.bytesize
          end
        end

        def <<(piece)
          write(piece)
          self
        end

        def flush = self

        def close(_error = nil)
          @closed = true
          nil
        end

        alias close_write close

        def close_read
          @input.close
        end

        def closed? = @closed
      end

      def initialize(task, status, headers, body)
        @task = task
        @request = task.request
        @status = status
        @headers = headers
        @body = body
        @started = false
      end

      # Sends it, and closes the body whatever happens. Raises what the body raises; a client that is gone is no error.
      def deliver
        return if @task.session

        send_body
        return if @task.session

        start unless @started
        @request.finish if @started == true
      rescue Error
        raise unless @request.gone?
      ensure
        @body.close if @body.respond_to?(:close)
      end

      def write(piece)
        return if @task.session || piece.empty?

        start unless @started
        @request.write(piece)
      end

      private

      def send_body
        if @body.respond_to?(:to_path) then send_file(@body.to_path)
        elsif @body.is_a?(Array) then send_whole(@body)
        elsif @body.respond_to?(:each) then @body.each { |piece| write(text(piece)) }
        elsif @body.respond_to?(:call) then @body.call(Stream.new(self, Input.new(@request)))
        else
          raise TypeError, "the body is a #{@body.class}, which has neither each nor call"
        end
      end

      # Known as a whole: one call of the library, with Content-Length.
      def send_whole(pieces)
        whole = pieces.size == 1 ? text(pieces.first) : pieces.map { |piece| text(piece).b }.join
        @request.respond(status, header_lines, whole)
        @started = :whole
      end

      def send_file(path)
        File.open(path, "rb") do |file|
          buffer = +""
          start
          @request.write(buffer) while file.read(FILE_BYTES, buffer)
        end
      end

      def start
        @request.start(status, header_lines)
        @started = true
      end

      def status
        Integer(@status)
      end

      def text(piece)
        return piece if piece.is_a?(String)

        raise TypeError, "the body gave a #{piece.class}, and Rack wants Strings"
      end

      # Rack 3 gives several values in an Array, Rack 2 in lines of one String. What begins with "rack." is for servers.
      def header_lines
        @headers.each_with_object([]) do |(name, value), lines|
          name = name.to_s
          next if name.start_with?("rack.")

          values = value.is_a?(Array) ? value : value.to_s.split("\n", -1)
          values = [""] if values.empty? && value.is_a?(String)
          values.each { |one| lines << [name, one.to_s] }
        end
      end
    end
  end
end
