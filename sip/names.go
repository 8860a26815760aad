package sip

// A fieldID names a header field that hot code asks for; unknown names have idOther and are compared as text.
type fieldID uint8

const (
	idOther fieldID = iota
	idBad           // a line that is no header field: no colon, or no token before it
	idVia
	idFrom
	idTo
	idCallID
	idCSeq
	idMaxForwards
	idContact
	idContentLength
	idContentType
	idRoute
	idRecordRoute
	idPath
	idServiceRoute
	idRequire
	idProxyRequire
	idSupported
	idUnsupported
	idAllow
	idExpires
	idMinExpires
	idRetryAfter
	idTimestamp
	idDate
	idAuthorization
	idProxyAuthorization
	idWWWAuthenticate
	idProxyAuthenticate
	idAuthenticationInfo
	idAccept
	idAcceptEncoding
	idAcceptLanguage
	idAcceptContact
	idAlertInfo
	idAllowEvents
	idCallInfo
	idContentDisposition
	idContentEncoding
	idContentLanguage
	idErrorInfo
	idEvent
	idFlowTimer
	idHistoryInfo
	idIdentity
	idIdentityInfo
	idInReplyTo
	idMaxBreadth
	idMIMEVersion
	idMinSE
	idOrganization
	idPAssertedIdentity
	idPPreferredIdentity
	idPriority
	idPrivacy
	idRAck
	idReason
	idReferTo
	idReferredBy
	idRejectContact
	idReplaces
	idReplyTo
	idRequestDisposition
	idRSeq
	idSecurityClient
	idSecurityServer
	idSecurityVerify
	idServer
	idSessionExpires
	idSIPETag
	idSIPIfMatch
	idSubject
	idSubscriptionState
	idUserAgent
	idWarning
	idCount
)

// fieldNames are the long names, fieldCompact the one-letter forms (IANA registry).
var fieldNames = [idCount]string{
	idVia: "Via", idFrom: "From", idTo: "To", idCallID: "Call-ID", idCSeq: "CSeq", idMaxForwards: "Max-Forwards",
	idContentLength: "Content-Length", idContentType: "Content-Type", idContact: "Contact", idRoute: "Route",
	idRecordRoute: "Record-Route", idPath: "Path", idServiceRoute: "Service-Route", idRequire: "Require",
	idProxyRequire: "Proxy-Require", idSupported: "Supported", idUnsupported: "Unsupported", idAllow: "Allow",
	idExpires: "Expires", idMinExpires: "Min-Expires", idRetryAfter: "Retry-After", idTimestamp: "Timestamp", idDate: "Date",
	idAuthorization: "Authorization", idProxyAuthorization: "Proxy-Authorization", idWWWAuthenticate: "WWW-Authenticate",
	idProxyAuthenticate: "Proxy-Authenticate", idAuthenticationInfo: "Authentication-Info", idAccept: "Accept",
	idAcceptEncoding: "Accept-Encoding", idAcceptLanguage: "Accept-Language", idAcceptContact: "Accept-Contact",
	idAlertInfo: "Alert-Info", idAllowEvents: "Allow-Events", idCallInfo: "Call-Info",
	idContentDisposition: "Content-Disposition", idContentEncoding: "Content-Encoding", idContentLanguage: "Content-Language",
	idErrorInfo: "Error-Info", idEvent: "Event", idFlowTimer: "Flow-Timer", idHistoryInfo: "History-Info",
	idIdentity: "Identity", idIdentityInfo: "Identity-Info", idInReplyTo: "In-Reply-To", idMaxBreadth: "Max-Breadth",
	idMIMEVersion: "MIME-Version", idMinSE: "Min-SE", idOrganization: "Organization",
	idPAssertedIdentity: "P-Asserted-Identity", idPPreferredIdentity: "P-Preferred-Identity", idPriority: "Priority",
	idPrivacy: "Privacy", idRAck: "RAck", idReason: "Reason", idReferTo: "Refer-To", idReferredBy: "Referred-By",
	idRejectContact: "Reject-Contact", idReplaces: "Replaces", idReplyTo: "Reply-To",
	idRequestDisposition: "Request-Disposition", idRSeq: "RSeq", idSecurityClient: "Security-Client",
	idSecurityServer: "Security-Server", idSecurityVerify: "Security-Verify", idServer: "Server",
	idSessionExpires: "Session-Expires", idSIPETag: "SIP-ETag", idSIPIfMatch: "SIP-If-Match", idSubject: "Subject",
	idSubscriptionState: "Subscription-State", idUserAgent: "User-Agent", idWarning: "Warning",
}

var fieldCompact = [26]fieldID{
	0: idAcceptContact, 'b' - 'a': idReferredBy, 'c' - 'a': idContentType, 'd' - 'a': idRequestDisposition,
	'e' - 'a': idContentEncoding, 'f' - 'a': idFrom, 'i' - 'a': idCallID, 'j' - 'a': idRejectContact,
	'k' - 'a': idSupported, 'l' - 'a': idContentLength, 'm' - 'a': idContact, 'n' - 'a': idIdentityInfo,
	'o' - 'a': idEvent, 'r' - 'a': idReferTo, 's' - 'a': idSubject, 't' - 'a': idTo, 'u' - 'a': idAllowEvents,
	'v' - 'a': idVia, 'x' - 'a': idSessionExpires, 'y' - 'a': idIdentity,
}

// fieldLists are the fields whose grammar is a comma-separated list (§7.3.1). The authentication fields are not: their
// values hold commas of their own.
var fieldLists = [idCount]bool{
	idVia: true, idContact: true, idRoute: true, idRecordRoute: true, idPath: true, idServiceRoute: true,
	idRequire: true, idProxyRequire: true, idSupported: true, idUnsupported: true, idAllow: true,
	idAccept: true, idAcceptEncoding: true, idAcceptLanguage: true, idAcceptContact: true, idRejectContact: true,
	idAlertInfo: true, idAllowEvents: true, idCallInfo: true, idContentEncoding: true, idContentLanguage: true,
	idErrorInfo: true, idHistoryInfo: true, idInReplyTo: true, idPAssertedIdentity: true, idPPreferredIdentity: true,
	idReason: true, idRequestDisposition: true, idSecurityClient: true, idSecurityServer: true, idSecurityVerify: true,
	idWarning: true,
}

// Names hash by length, first and last letter; a bucket holds the few ids that share it.
const nameSlots = 512

var nameTable = makeNameTable()

func makeNameTable() (t [nameSlots][3]fieldID) {
	for id := idVia; id < idCount; id++ {
		b := &t[nameHash(fieldNames[id])]
		for i := range b {
			if b[i] == 0 {
				b[i] = id
				break
			}
		}
	}
	return t
}

func nameHash(s string) uint {
	n := uint(len(s))
	return (n + uint(s[0]|0x20)*7 + uint(s[n-1]|0x20)*31 + uint(s[n/2]|0x20)*67) % nameSlots
}

// lookupName gives the id of a field name, long or compact, in any case.
func lookupName(s string) fieldID {
	if len(s) < everydayLen {
		if id := everydayID(words(s)); id != idOther {
			return id
		}
	}
	return tableName(s)
}

// tableName knows every name in every spelling.
func tableName(s string) fieldID {
	if len(s) < 2 {
		if s != "" {
			if c := lower(s[0]) - 'a'; c < 26 {
				return fieldCompact[c]
			}
		}
		return idOther
	}
	for _, id := range nameTable[nameHash(s)] {
		if name := fieldNames[id]; name == s || equalFold(name, s) {
			return id
		}
	}
	return idOther
}
